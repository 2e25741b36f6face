//! The index: which images exist and which references point to them. One small JSON file.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::disk::{Outlives, write_atomically};
use crate::image::digest::{DiffId, ImageId};
use crate::image::error::{ImageError, io_error};
use crate::image::reference::Reference;

const FILE_NAME: &str = "index.json";
const VERSION: u32 = 1;

/// What the store holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    version: u32,
    pub(crate) images: BTreeMap<ImageId, Record>,
    pub(crate) references: BTreeMap<Reference, ImageId>,
}

/// What is known of an image beyond its configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The image it was committed from on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    /// Bottom first; here too, so that layers can be counted when a configuration is lost.
    pub(crate) layers: Vec<DiffId>,
    /// When a reference was last pointed to it, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tagged: Option<String>,
}

impl Default for Index {
    fn default() -> Index {
        Index { version: VERSION, images: BTreeMap::new(), references: BTreeMap::new() }
    }
}

impl Record {
    pub(crate) fn new(layers: Vec<DiffId>) -> Record {
        Record { parent: None, layers, tagged: None }
    }
}

impl Index {
    /// Reads the index; a store that has images but no index is as damaged as one with a broken index.
    pub(crate) fn read(root: &Path) -> Result<Index, ImageError> {
        let path = root.join(FILE_NAME);
        let corrupt = |reason: String| ImageError::CorruptIndex { path: path.clone(), reason };
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let configs = root.join("configs");
                let has_images = std::fs::read_dir(&configs).map_err(io_error("read", &configs))?.next().is_some();
                if has_images {
                    return Err(corrupt("it is missing, but there are images".to_owned()));
                }
                let index = Index::default();
                index.write(root)?;
                return Ok(index);
            }
            bytes => bytes.map_err(io_error("read", &path))?,
        };
        let index: Index = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
        if index.version != VERSION {
            return Err(corrupt(format!("it has version {}, this program knows {VERSION}", index.version)));
        }
        if let Some((reference, id)) = index.references.iter().find(|(_, id)| !index.images.contains_key(id)) {
            return Err(corrupt(format!("{reference} points to {id}, which it does not list")));
        }
        Ok(index)
    }

    pub(crate) fn write(&self, root: &Path) -> Result<(), ImageError> {
        let path = root.join(FILE_NAME);
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| ImageError::format("the image index", error))?;
        write_atomically(&path, &bytes, Outlives::Power)
    }

    /// Points a reference to an image, away from where it pointed before.
    pub(crate) fn point(&mut self, reference: &Reference, id: &ImageId) {
        self.references.insert(reference.clone(), id.clone());
        if let Some(record) = self.images.get_mut(id) {
            record.tagged = Some(jiff::Timestamp::now().to_string());
        }
    }

    /// All references to an image, sorted.
    pub(crate) fn references_to<'a>(&'a self, id: &'a ImageId) -> impl Iterator<Item = &'a Reference> {
        self.references.iter().filter(move |(_, target)| *target == id).map(|(reference, _)| reference)
    }
}
