//! A tar of a root filesystem becomes an image of one layer.

use super::Source;
use crate::image::change;
use crate::image::config::{Config, History, ImageConfig, RootFs};
use crate::image::digest::ImageId;
use crate::image::error::{ImageError, io_error};
use crate::image::layer::compression::decompress;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::image::store::{Store, blocking};

/// What to import.
pub struct ImportRequest {
    /// The tar stream: plain, gzip or zstd.
    pub source: Source,
    /// What it will be called.
    pub reference: Option<Reference>,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Shown in the history, `Imported from -`.
    pub message: String,
    /// The machine it is for; the host's unless given.
    pub platform: Option<Platform>,
}

impl Store {
    /// Makes an image of a root filesystem.
    pub async fn import(&self, request: ImportRequest) -> Result<ImageId, ImageError> {
        let store = self.clone();
        blocking(move || import(&store, request)).await
    }
}

fn import(store: &Store, request: ImportRequest) -> Result<ImageId, ImageError> {
    let mut config = Config::default();
    change::apply(&mut config, &request.changes)?;
    let stream = decompress(request.source).map_err(io_error("read the import for", store.root()))?;
    let lease = store.ingest(stream, None)?;
    let created = Some(jiff::Timestamp::now().to_string());
    let Platform { os, architecture, variant } = request.platform.unwrap_or_else(Platform::host);
    let config = ImageConfig {
        architecture,
        os,
        variant: Some(variant).filter(|variant| !variant.is_empty()),
        comment: request.message.clone(),
        created: created.clone(),
        config,
        rootfs: RootFs { diff_ids: vec![lease.diff_id().clone()], ..RootFs::default() },
        history: vec![History { created, comment: request.message, ..History::default() }],
        ..ImageConfig::default()
    };
    let bytes = serde_json::to_vec(&config).map_err(|e| ImageError::format("the image configuration", e))?;
    let references: Vec<_> = request.reference.into_iter().map(Reference::or_latest).collect();
    store.add_image(&bytes, None, &references)
}
