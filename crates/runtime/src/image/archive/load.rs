//! `docker load`: archives of `docker save`, old and new, and OCI layouts, compressed or not.

use std::io::BufReader;

use super::spool::Spool;
use super::{INDEX_JSON, MANIFEST_JSON, OCI_LAYOUT, SavedImage, Source, blob_path};
use crate::image::config::ImageConfig;
use crate::image::digest::{DiffId, Digest, ImageId};
use crate::image::error::{ImageError, LayerError, io_error};
use crate::image::layer::compression::decompress;
use crate::image::manifest::{ANNOTATION_NAME, ANNOTATION_REF, Descriptor, Document, ImageIndex, OCI_INDEX};
use crate::image::platform::Platform;
use crate::image::progress::{Amount, Metered, Phase, ProgressSink};
use crate::image::reference::Reference;
use crate::image::store::{Store, blocking, parse_config};

/// Indexes inside indexes deeper than this are a trick.
const NESTING_MAX: usize = 4;

/// An image that came out of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names it brought along.
    pub references: Vec<Reference>,
}

/// An image in an archive, whichever layout it has.
struct Found {
    config: Vec<u8>,
    /// Names of the layers' files, bottom first.
    layers: Vec<String>,
    references: Vec<Reference>,
}

impl Store {
    /// Loads every image of an archive. `Loaded image: ...` is told per name.
    pub async fn load(&self, source: Source, progress: ProgressSink) -> Result<Vec<Loaded>, ImageError> {
        let store = self.clone();
        blocking(move || load(&store, source, &progress)).await
    }
}

fn load(store: &Store, source: Source, progress: &ProgressSink) -> Result<Vec<Loaded>, ImageError> {
    let stream =
        decompress(source).map_err(|source| LayerError::Io { what: "reading the archive".to_owned(), source })?;
    let spool = Spool::read(store, stream)?;
    let found = if spool.has(MANIFEST_JSON) {
        docker_images(&spool)?
    } else if spool.has(OCI_LAYOUT) || spool.has(INDEX_JSON) {
        oci_images(&spool)?
    } else {
        let reason = format!(
            "it has neither {MANIFEST_JSON} nor {INDEX_JSON}; was it made by docker export? then docker import it"
        );
        return Err(ImageError::format("this is no image archive", reason));
    };
    found.into_iter().map(|image| load_one(store, &spool, image, progress)).collect()
}

fn load_one(store: &Store, spool: &Spool, found: Found, progress: &ProgressSink) -> Result<Loaded, ImageError> {
    let config: ImageConfig = parse_config(&found.config)?;
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != found.layers.len() {
        let reason = format!("the configuration lists {} layers, the archive {}", diff_ids.len(), found.layers.len());
        return Err(ImageError::format("the archive cannot be used", reason));
    }
    let mut leases = Vec::new();
    for (diff_id, file) in diff_ids.iter().zip(&found.layers) {
        let lease = store.lease(diff_id);
        if !store.state().layers.contains_key(diff_id) {
            load_layer(store, spool, diff_id, file, progress)?;
        }
        leases.push(lease);
    }
    let before = store.state();
    let id = store.add_image(&found.config, None, &found.references)?;
    for reference in &found.references {
        let familiar = reference.familiar();
        if let Some(old) = before.index.references.get(reference).filter(|old| **old != id) {
            progress.line(format!(
                "The image {familiar} already exists, renaming the old one with ID {old} to empty string"
            ));
        }
        progress.line(format!("Loaded image: {familiar}"));
    }
    if found.references.is_empty() {
        progress.line(format!("Loaded image ID: {id}"));
    }
    Ok(Loaded { id, references: found.references })
}

fn load_layer(
    store: &Store,
    spool: &Spool,
    diff_id: &DiffId,
    file: &str,
    progress: &ProgressSink,
) -> Result<(), ImageError> {
    let file = spool.open(file)?;
    let total = file.metadata().map_err(io_error("examine a layer below", store.root()))?.len();
    let tell = |current| progress.layer(diff_id.short(), Phase::LoadingLayer(Amount { current, total }));
    tell(0);
    let stream = decompress(BufReader::new(Metered::new(file, tell)))
        .map_err(|source| LayerError::Io { what: "reading the archive".to_owned(), source })?;
    store.ingest(stream, Some(diff_id))?;
    tell(total);
    Ok(())
}

fn docker_images(spool: &Spool) -> Result<Vec<Found>, ImageError> {
    let bytes = spool.document(MANIFEST_JSON)?;
    let images: Vec<SavedImage> =
        serde_json::from_slice(&bytes).map_err(|error| ImageError::format(MANIFEST_JSON, error))?;
    let found = |image: SavedImage| {
        let tags = image.repo_tags.unwrap_or_default();
        let references: Result<Vec<_>, _> =
            tags.iter().map(|tag| Reference::parse(tag).map(Reference::or_latest)).collect();
        Ok(Found { config: spool.document(&image.config)?, layers: image.layers, references: references? })
    };
    images.into_iter().map(found).collect()
}

fn oci_images(spool: &Spool) -> Result<Vec<Found>, ImageError> {
    let bytes = spool.document(INDEX_JSON)?;
    match Document::parse(&bytes, OCI_INDEX)? {
        Document::Index(index) => index.manifests.iter().map(|image| oci_image(spool, image)).collect(),
        Document::Manifest(_) => Err(ImageError::format(INDEX_JSON, "it is a manifest, not an index")),
    }
}

fn oci_image(spool: &Spool, root: &Descriptor) -> Result<Found, ImageError> {
    let mut digest: Digest = root.digest.clone();
    for _ in 0..NESTING_MAX {
        let bytes = spool.blob(&digest)?;
        match Document::parse(&bytes, "")? {
            Document::Manifest(manifest) => {
                return Ok(Found {
                    config: spool.blob(&manifest.config.digest)?,
                    layers: manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
                    references: annotated_name(root)?.into_iter().collect(),
                });
            }
            Document::Index(index) => digest = choose(spool, &index)?.digest.clone(),
        }
    }
    Err(ImageError::format("the archive cannot be used", "its indexes are nested too deep"))
}

/// The host's image; where the archive has another one only, that one.
fn choose<'a>(spool: &Spool, index: &'a ImageIndex) -> Result<&'a Descriptor, ImageError> {
    let present = || index.manifests.iter().filter(|image| spool.has(&blob_path(&image.digest)));
    index
        .choose(&Platform::host())
        .filter(|image| spool.has(&blob_path(&image.digest)))
        .or_else(|| present().next())
        .ok_or_else(|| ImageError::format("the archive cannot be used", "it has none of the images of its index"))
}

/// The full name of an image if the archive gives one; a bare tag names nothing.
fn annotated_name(image: &Descriptor) -> Result<Option<Reference>, ImageError> {
    let annotation = |key| image.annotations.get(key).map(String::as_str);
    let name =
        annotation(ANNOTATION_NAME).or_else(|| annotation(ANNOTATION_REF).filter(|name| name.contains([':', '/'])));
    let reference = name.map(Reference::parse).transpose()?;
    Ok(reference.map(Reference::or_latest).filter(|reference| reference.digest().is_none()))
}
