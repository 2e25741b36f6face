//! Images as callers see them, and how a name, digest or id leads to one.

use std::sync::Arc;

use super::config::ImageConfig;
use super::digest::{Digest, ImageId};
use super::error::ImageError;
use super::reference::Reference;
use super::store::{State, Store};

/// An image in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: ImageId,
    /// `busybox:latest`, as Docker shows them, sorted.
    pub repo_tags: Vec<String>,
    /// `busybox@sha256:...`: by which manifests registries know it.
    pub repo_digests: Vec<String>,
    /// The image it was committed from on this machine.
    pub parent: Option<ImageId>,
    /// Bytes of the files of all its layers.
    pub size: u64,
    /// When a reference was last pointed to it, RFC 3339.
    pub last_tagged: Option<String>,
    /// All that is in its configuration file.
    pub config: Arc<ImageConfig>,
}

impl Image {
    /// When it was made, seconds since the epoch; 0 where nobody said.
    pub fn created_unix_s(&self) -> i64 {
        seconds(self.config.created.as_deref())
    }

    /// Whether no tag points to it.
    pub fn is_dangling(&self) -> bool {
        self.repo_tags.is_empty()
    }
}

impl Store {
    /// Finds an image as the Docker CLI's users name it: reference, digest, id, or a prefix of an id.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let state = self.state();
        let id = find(&state, name)?;
        image(&state, &id)
    }

    /// The image with this id.
    pub fn image(&self, id: &ImageId) -> Result<Image, ImageError> {
        image(&self.state(), id)
    }

    /// Directories for the `lowerdir` of an overlay mount, top first. They are short symlinks in one directory
    /// (`DATA/images/l`): a mounter may change into it and use the bare names, as a page of mount options holds few
    /// long ones.
    pub fn lower_dirs(&self, id: &ImageId) -> Result<Vec<std::path::PathBuf>, ImageError> {
        let state = self.state();
        let record = state.index.images.get(id).ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
        self.lower_dirs_of(&record.layers)
    }
}

/// The id behind a name. Nothing is said about whether the image is whole.
pub(crate) fn find(state: &State, name: &str) -> Result<ImageId, ImageError> {
    let images = &state.index.images;
    let bare = name.strip_prefix("sha256:").unwrap_or(name);
    if let Ok(id) = format!("sha256:{bare}").parse::<Digest>() {
        return if images.contains_key(&id) { Ok(id) } else { Err(ImageError::NoSuchImage(name.to_owned())) };
    }
    let reference = Reference::parse(name).map(Reference::or_latest);
    if let Some(id) = reference.as_ref().ok().and_then(|reference| by_reference(state, reference)) {
        return Ok(id.clone());
    }
    if bare.len() < 64 && !bare.is_empty() && bare.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        let matches: Vec<_> = images.keys().filter(|id| id.hex().starts_with(bare)).collect();
        match matches[..] {
            [] => {}
            [id] => return Ok(id.clone()),
            _ => {
                let matches = matches.iter().map(|id| id.short().to_owned()).collect();
                return Err(ImageError::Ambiguous { prefix: bare.to_owned(), matches });
            }
        }
    }
    Err(ImageError::NoSuchImage(reference?.familiar()))
}

/// Where both a tag and a digest are given, the digest decides.
pub(crate) fn by_reference<'a>(state: &'a State, reference: &Reference) -> Option<&'a ImageId> {
    match reference.digest() {
        Some(digest) => state.index.references.get(&reference.with_digest(digest)),
        None => state.index.references.get(reference),
    }
}

pub(crate) fn image(state: &State, id: &ImageId) -> Result<Image, ImageError> {
    let damaged = || {
        state
            .damaged
            .get(id)
            .map(|reason| ImageError::Damaged { what: format!("image {}", id.short()), reason: reason.clone() })
    };
    let (Some(config), Some(record)) = (state.configs.get(id), state.index.images.get(id)) else {
        return Err(damaged().unwrap_or_else(|| ImageError::NoSuchImage(id.to_string())));
    };
    let (digests, tags): (Vec<_>, Vec<_>) = state.index.references_to(id).partition(|r| r.digest().is_some());
    let familiar = |references: Vec<&Reference>| references.into_iter().map(Reference::familiar).collect();
    Ok(Image {
        id: id.clone(),
        repo_tags: familiar(tags),
        repo_digests: familiar(digests),
        parent: record.parent.clone(),
        size: record.layers.iter().filter_map(|diff_id| state.layers.get(diff_id)).map(|layer| layer.size).sum(),
        last_tagged: record.tagged.clone(),
        config: config.clone(),
    })
}

/// When an image was made, to order images by: commits of one second are told apart.
pub(crate) fn made(image: &Image) -> jiff::Timestamp {
    timestamp(image.config.created.as_deref()).unwrap_or_default()
}

/// Seconds since the epoch of an RFC 3339 time; 0 where there is none.
pub(crate) fn seconds(time: Option<&str>) -> i64 {
    timestamp(time).map_or(0, |time| time.as_second())
}

fn timestamp(time: Option<&str>) -> Option<jiff::Timestamp> {
    time.and_then(|time| time.parse().ok())
}
