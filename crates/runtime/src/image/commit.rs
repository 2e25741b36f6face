//! A container's changes become an image.

use std::collections::BTreeSet;
use std::io::BufWriter;
use std::path::PathBuf;

use super::change;
use super::config::{Config, History};
use super::digest::ImageId;
use super::error::ImageError;
use super::find;
use super::layer::pack::pack;
use super::reference::Reference;
use super::store::{Store, blocking};

/// What to commit.
#[derive(Debug, Clone)]
pub struct CommitRequest {
    /// The container, by full id; its writable layer must exist (see [`Store::create_snapshot`]).
    pub container: String,
    /// Paths from the root of the container that are no change of its own: mount points the runtime made.
    pub exclude: BTreeSet<PathBuf>,
    /// What the new image will run: the container's own configuration.
    pub config: Config,
    /// Dockerfile instructions on top.
    pub changes: Vec<String>,
    /// Who.
    pub author: String,
    /// Message.
    pub comment: String,
    /// What it will be called.
    pub reference: Option<Reference>,
}

impl Store {
    /// Makes an image of a container's image, its changes and a configuration. The container should be paused, or
    /// the layer holds whatever was there when each file was read.
    pub async fn commit(&self, request: CommitRequest) -> Result<ImageId, ImageError> {
        let store = self.clone();
        blocking(move || commit(&store, request)).await
    }
}

fn commit(store: &Store, request: CommitRequest) -> Result<ImageId, ImageError> {
    let Some(snapshot) = store.snapshot(&request.container)? else {
        return Err(ImageError::Invalid(format!("container {} has no writable layer", request.container)));
    };
    let parent = find::image(&store.state(), &snapshot.image)?;
    let mut config = request.config;
    change::apply(&mut config, &request.changes)?;
    let lease = store.ingest_from(|out| pack(&snapshot.upper, &request.exclude, BufWriter::new(out)).map(drop))?;
    let is_empty = store.state().layers.get(lease.diff_id()).is_some_and(|layer| layer.entries == 0);
    let mut child = (*parent.config).clone();
    if !is_empty {
        child.rootfs.diff_ids.push(lease.diff_id().clone());
    }
    let created = Some(jiff::Timestamp::now().to_string());
    child.history.push(History {
        created: created.clone(),
        created_by: config.cmd.as_deref().unwrap_or_default().join(" "),
        author: request.author.clone(),
        comment: request.comment.clone(),
        empty_layer: is_empty,
    });
    child.created = created;
    child.author = request.author;
    child.comment = request.comment;
    child.config = config;
    let bytes = serde_json::to_vec(&child).map_err(|e| ImageError::format("the image configuration", e))?;
    let references: Vec<_> = request.reference.into_iter().map(Reference::or_latest).collect();
    store.add_image(&bytes, Some(parent.id), &references)
}
