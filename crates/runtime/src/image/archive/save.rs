//! `docker save`: the layout Docker has written since version 25, an OCI layout with `manifest.json` beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};

use super::{INDEX_JSON, MANIFEST_JSON, OCI_LAYOUT, SavedImage, blob_path};
use crate::image::digest::{Digest, ImageId};
use crate::image::error::{ImageError, LayerError};
use crate::image::find;
use crate::image::layer::tar_reader::{Entry, EntryKind};
use crate::image::layer::tar_writer::TarWriter;
use crate::image::manifest::{
    ANNOTATION_NAME, ANNOTATION_REF, Descriptor, ImageIndex, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST,
};
use crate::image::reference::Reference;
use crate::image::store::{Store, blocking, config_path};

impl Store {
    /// Writes images as one archive, each layer once. A name without a tag means all tags of the repository; an id
    /// brings no name along. Fails in the middle of the stream if a layer is damaged.
    pub async fn save(&self, names: &[String], out: impl Write + Send + 'static) -> Result<(), ImageError> {
        let (store, names) = (self.clone(), names.to_vec());
        blocking(move || save(&store, &names, out)).await
    }
}

fn save(store: &Store, names: &[String], out: impl Write) -> Result<(), ImageError> {
    let images = chosen(store, names)?;
    // Whoever removes an image meanwhile must not pull a layer from under the stream.
    let state = store.state();
    let layers = images.keys().filter_map(|id| state.index.images.get(id)).flat_map(|record| &record.layers);
    let _leases: Vec<_> = layers.map(|diff_id| store.lease(diff_id)).collect();
    let mut archive = Archive { store, tar: TarWriter::new(BufWriter::new(out)), written: BTreeSet::new() };
    for name in ["blobs/", "blobs/sha256/"] {
        archive.tar.append(&Entry::plain(name, EntryKind::Directory, 0o755, 0), io::empty()).map_err(writing)?;
    }
    let mut index = ImageIndex { schema_version: 2, media_type: OCI_INDEX.to_owned(), manifests: Vec::new() };
    let mut saved = Vec::new();
    for (id, references) in &images {
        let manifest = archive.image(id)?;
        saved.push(SavedImage {
            config: blob_path(id),
            repo_tags: Some(references.iter().map(Reference::familiar).collect()),
            layers: manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        });
        let descriptor = archive.blob(&json(&manifest)?, OCI_MANIFEST)?;
        index.manifests.extend(named(&descriptor, references));
    }
    archive.file(INDEX_JSON, &json(&index)?)?;
    archive.file(MANIFEST_JSON, &json(&saved)?)?;
    archive.file(OCI_LAYOUT, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    archive.tar.finish().map_err(writing)?.flush().map_err(writing)
}

/// The images with the names that were asked for, in the order of their ids.
fn chosen(store: &Store, names: &[String]) -> Result<BTreeMap<ImageId, BTreeSet<Reference>>, ImageError> {
    let state = store.state();
    let mut images: BTreeMap<ImageId, BTreeSet<Reference>> = BTreeMap::new();
    for name in names {
        let asked = Reference::parse(name).ok();
        let is_whole_repository = asked.as_ref().is_some_and(|asked| asked.tag().is_none() && asked.digest().is_none());
        let tags = state.index.references.iter().filter(|(reference, _)| {
            asked.as_ref().is_some_and(|asked| {
                reference.same_repository(asked)
                    && reference.digest().is_none()
                    && (is_whole_repository || reference.tag() == asked.tag() && asked.digest().is_none())
            })
        });
        let tags: Vec<_> = tags.collect();
        if tags.is_empty() {
            images.entry(find::find(&state, name)?).or_default();
        }
        for (reference, id) in tags {
            images.entry(id.clone()).or_default().insert(reference.clone());
        }
    }
    images.keys().try_for_each(|id| find::image(&state, id).map(drop))?;
    Ok(images)
}

struct Archive<'a, W: Write> {
    store: &'a Store,
    tar: TarWriter<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<'_, W> {
    fn image(&mut self, id: &ImageId) -> Result<Manifest, ImageError> {
        let path = config_path(self.store.root(), id);
        let config = std::fs::read(&path).map_err(crate::image::error::io_error("read", &path))?;
        let image = find::image(&self.store.state(), id)?;
        let layers =
            image.config.rootfs.diff_ids.iter().map(|diff_id| self.layer(diff_id)).collect::<Result<_, _>>()?;
        Ok(Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST.to_owned(),
            config: self.blob(&config, OCI_CONFIG)?,
            layers,
        })
    }

    fn layer(&mut self, diff_id: &Digest) -> Result<Descriptor, ImageError> {
        let state = self.store.state();
        let Some(layer) = state.layers.get(diff_id) else {
            return Err(ImageError::Damaged {
                what: format!("layer {}", diff_id.short()),
                reason: "it is missing".to_owned(),
            });
        };
        if self.written.insert(diff_id.clone()) {
            let entry = Entry::plain(&blob_path(diff_id), EntryKind::File, 0o644, layer.tar_len);
            self.tar.append_with(&entry, |out| self.store.export_layer(diff_id, out)).map_err(writing)??;
        }
        Ok(descriptor(OCI_LAYER, diff_id.clone(), layer.tar_len))
    }

    fn blob(&mut self, bytes: &[u8], media_type: &str) -> Result<Descriptor, ImageError> {
        let digest = Digest::of(bytes);
        if self.written.insert(digest.clone()) {
            self.file(&blob_path(&digest), bytes)?;
        }
        Ok(descriptor(media_type, digest, bytes.len() as u64))
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        self.tar.append(&Entry::plain(name, EntryKind::File, 0o644, bytes.len() as u64), bytes).map_err(writing)
    }
}

/// One entry of the index for each name, or one without.
fn named(image: &Descriptor, references: &BTreeSet<Reference>) -> Vec<Descriptor> {
    if references.is_empty() {
        return vec![image.clone()];
    }
    let with_name = |reference: &Reference| {
        let mut image = image.clone();
        image.annotations.insert(ANNOTATION_NAME.to_owned(), reference.to_string());
        image.annotations.extend(reference.tag().map(|tag| (ANNOTATION_REF.to_owned(), tag.to_owned())));
        image
    };
    references.iter().map(with_name).collect()
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(value).map_err(|error| ImageError::format("the archive", error))
}

fn writing(source: io::Error) -> ImageError {
    LayerError::Io { what: "writing the archive".to_owned(), source }.into()
}
