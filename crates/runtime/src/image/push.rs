//! An image from the store to a registry. Layers the registry is known to have are not sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::digest::{DiffId, Digest, Hashing, ImageId};
use super::error::{ImageError, io_error};
use super::find;
use super::manifest::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST,
};
use super::progress::{Amount, Phase, ProgressSink};
use super::reference::Reference;
use super::registry::{Access, Credentials, Endpoint, Registry, RegistrySettings, Uploading};
use super::store::{Distribution, Store, Temp, blocking, config_path};

/// Layers that go at once.
const UPLOADS_MAX: usize = 3;
/// Repositories asked for a layer before it is sent.
const MOUNTS_MAX: usize = 3;

/// What to push.
#[derive(Clone)]
pub struct PushRequest {
    /// Without a tag, all tags of the repository.
    pub reference: Reference,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Who listens.
    pub progress: ProgressSink,
}

/// What a registry has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Under which tag.
    pub tag: String,
    /// Of the manifest.
    pub digest: Digest,
    /// Of the manifest, in bytes.
    pub size: u64,
}

#[derive(Clone)]
struct LayerPush {
    store: Store,
    registry: Arc<Registry>,
    reference: Reference,
    diff_id: DiffId,
    progress: ProgressSink,
}

impl Store {
    /// Pushes one tag or all of a repository.
    pub async fn push(&self, request: PushRequest, settings: &RegistrySettings) -> Result<Vec<Pushed>, ImageError> {
        let PushRequest { reference, credentials, progress } = request;
        if reference.digest().is_some() {
            return Err(ImageError::Invalid("cannot push a digest reference".to_owned()));
        }
        let tagged = self.tagged(&reference);
        if tagged.is_empty() {
            let name = reference.familiar();
            return Err(ImageError::Invalid(format!("An image does not exist locally with the tag: {name}")));
        }
        progress.line(format!("The push refers to repository [{}]", reference.name()));
        let mounts = self.mount_sources(&reference, tagged.values());
        let access = Access::Push(reference.clone(), mounts);
        let endpoint = Endpoint::of(reference.domain(), settings);
        let registry = Registry::connect(&endpoint, credentials.as_ref(), access, settings).await?;
        let registry = Arc::new(registry);
        let mut pushed = Vec::new();
        for (reference, id) in &tagged {
            pushed.push(self.push_image(&registry, reference, id, &progress).await?);
        }
        Ok(pushed)
    }

    fn tagged(&self, asked: &Reference) -> BTreeMap<Reference, ImageId> {
        let state = self.state();
        let fits = |reference: &Reference| {
            let tag = reference.tag();
            tag.is_some() && reference.same_repository(asked) && (asked.tag().is_none() || asked.tag() == tag)
        };
        state
            .index
            .references
            .iter()
            .filter(|(reference, _)| fits(reference))
            .map(|(r, id)| (r.clone(), id.clone()))
            .collect()
    }

    /// Paths of other repositories on the same registry that are known to have some of the layers.
    fn mount_sources<'a>(&self, target: &Reference, images: impl Iterator<Item = &'a ImageId>) -> Vec<String> {
        let state = self.state();
        let layers = images.filter_map(|id| state.index.images.get(id)).flat_map(|record| &record.layers);
        let known = layers.filter_map(|diff_id| state.layers.get(diff_id)).flat_map(|layer| &layer.distributions);
        let paths: BTreeSet<String> = known.filter_map(|known| other_path(known, target)).collect();
        paths.into_iter().take(MOUNTS_MAX).collect()
    }

    async fn push_image(
        &self,
        registry: &Arc<Registry>,
        reference: &Reference,
        id: &ImageId,
        progress: &ProgressSink,
    ) -> Result<Pushed, ImageError> {
        let image = find::image(&self.state(), id)?;
        let diff_ids = &image.config.rootfs.diff_ids;
        let _leases: Vec<_> = diff_ids.iter().map(|diff_id| self.lease(diff_id)).collect();
        let layers = self.push_layers(registry, reference, diff_ids, progress).await?;
        let path = config_path(self.root(), id);
        let config = tokio::fs::read(&path).await.map_err(io_error("read", &path))?;
        let config_len = config.len() as u64;
        if registry.blob_len(id).await?.is_none()
            && let Uploading::To(location) = registry.begin_upload(None).await?
        {
            registry.upload_bytes(&location, id, config).await?;
        }
        let manifest = manifest(id, config_len, layers);
        let bytes = serde_json::to_vec(&manifest).map_err(|e| ImageError::format("the manifest", e))?;
        let size = bytes.len() as u64;
        let tag = reference.tag().unwrap_or_default().to_owned();
        let digest = registry.put_manifest(&tag, &manifest.media_type, bytes).await?;
        progress.line(format!("{tag}: digest: {digest} size: {size}"));
        let (store, known_as, id) = (self.clone(), reference.with_digest(&digest), id.clone());
        blocking(move || {
            store.update(|state| {
                if state.index.images.contains_key(&id) {
                    state.index.references.insert(known_as, id);
                }
                Ok(())
            })
        })
        .await?;
        Ok(Pushed { tag, digest, size })
    }

    /// What the registry calls each layer, bottom first.
    async fn push_layers(
        &self,
        registry: &Arc<Registry>,
        reference: &Reference,
        diff_ids: &[DiffId],
        progress: &ProgressSink,
    ) -> Result<Vec<Distribution>, ImageError> {
        let slots = Arc::new(Semaphore::new(UPLOADS_MAX));
        let mut tasks = JoinSet::new();
        let mut seen = BTreeSet::new();
        for diff_id in diff_ids.iter().rev().filter(|diff_id| seen.insert(*diff_id)) {
            progress.layer(diff_id.short(), Phase::Preparing);
            let layer = LayerPush {
                store: self.clone(),
                registry: registry.clone(),
                reference: reference.clone(),
                diff_id: diff_id.clone(),
                progress: progress.clone(),
            };
            tasks.spawn(push_layer(layer, slots.clone()));
        }
        let mut found = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let (diff_id, distribution) = done.unwrap_or(Err(ImageError::Interrupted))?;
            found.insert(diff_id, distribution);
        }
        Ok(diff_ids.iter().filter_map(|diff_id| found.get(diff_id).cloned()).collect())
    }
}

async fn push_layer(layer: LayerPush, slots: Arc<Semaphore>) -> Result<(DiffId, Distribution), ImageError> {
    if slots.available_permits() == 0 {
        layer.progress.layer(layer.diff_id.short(), Phase::Waiting);
    }
    let _slot = slots.acquire().await;
    let distribution = match reuse(&layer).await? {
        Some(known) => known,
        None => send(&layer).await?,
    };
    let (store, diff_id, known) = (layer.store.clone(), layer.diff_id.clone(), distribution.clone());
    blocking(move || store.remember(&diff_id, known)).await?;
    Ok((layer.diff_id, distribution))
}

/// A form of the layer that the registry has, here or in another repository.
async fn reuse(layer: &LayerPush) -> Result<Option<Distribution>, ImageError> {
    let LayerPush { registry, reference, progress, diff_id, .. } = layer;
    let state = layer.store.state();
    let distributions = state.layers.get(diff_id).map(|layer| layer.distributions.clone()).unwrap_or_default();
    let here = |known: &Distribution| Distribution { repository: reference.name(), ..known.clone() };
    for known in distributions.iter().filter(|known| known.repository == reference.name()) {
        if registry.blob_len(&known.digest).await? == Some(known.size) {
            progress.layer(diff_id.short(), Phase::LayerAlreadyExists);
            return Ok(Some(here(known)));
        }
    }
    for known in distributions.iter().take(MOUNTS_MAX) {
        let Some(from) = other_path(known, reference) else { continue };
        if let Uploading::Mounted = registry.begin_upload(Some((&known.digest, &from))).await? {
            progress.layer(diff_id.short(), Phase::MountedFrom(from));
            return Ok(Some(here(known)));
        }
    }
    Ok(None)
}

/// Compresses the layer and uploads it.
async fn send(layer: &LayerPush) -> Result<Distribution, ImageError> {
    let LayerPush { registry, reference, progress, diff_id, store } = layer;
    let compressing = layer.clone();
    let (temp, digest, size) = blocking(move || compress(&compressing)).await?;
    let media_type = DOCKER_LAYER_GZIP.to_owned();
    let distribution = Distribution { repository: reference.name(), digest: digest.clone(), size, media_type };
    let id = diff_id.short().to_owned();
    if registry.blob_len(&digest).await? == Some(size) {
        progress.layer(&id, Phase::LayerAlreadyExists);
        return Ok(distribution);
    }
    if let Uploading::To(location) = registry.begin_upload(None).await? {
        let (listener, layer_id) = (progress.clone(), id.clone());
        let tell = move |current| listener.layer(&layer_id, Phase::Pushing(Amount { current, total: size }));
        tell(0);
        registry.upload_file(&location, &digest, (temp.path().to_owned(), size), Arc::new(tell)).await?;
    }
    tracing::debug!(layer = id, store = %store.root().display(), "a layer was pushed");
    progress.layer(&id, Phase::Pushed);
    Ok(distribution)
}

fn compress(layer: &LayerPush) -> Result<(Temp, Digest, u64), ImageError> {
    let temp = Temp::new(layer.store.root());
    let file = std::fs::File::create(temp.path()).map_err(io_error("create", temp.path()))?;
    let hashing = Hashing::new(std::io::BufWriter::new(file));
    let mut gzip = flate2::write::GzEncoder::new(hashing, flate2::Compression::default());
    layer.store.export_layer(&layer.diff_id, &mut gzip)?;
    let finish = || -> std::io::Result<_> {
        let mut hashing = gzip.finish()?;
        hashing.flush()?;
        Ok(hashing.into_inner().1)
    };
    let hasher = finish().map_err(io_error("write", temp.path()))?;
    let size = hasher.len();
    Ok((temp, hasher.finish(), size))
}

/// Docker's manifest where every layer is gzip, OCI's where one is what only OCI has a name for.
fn manifest(id: &ImageId, config_len: u64, layers: Vec<Distribution>) -> Manifest {
    let is_oci = layers.iter().any(|layer| !layer.media_type.ends_with("gzip"));
    let layer_type = |media_type: &str| match (is_oci, media_type.ends_with("gzip")) {
        (false, _) => DOCKER_LAYER_GZIP.to_owned(),
        (true, true) => format!("{OCI_LAYER}+gzip"),
        (true, false) if media_type.ends_with("zstd") => format!("{OCI_LAYER}+zstd"),
        (true, false) => OCI_LAYER.to_owned(),
    };
    let descriptor = |media_type: &str, digest: Digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    Manifest {
        schema_version: 2,
        media_type: if is_oci { OCI_MANIFEST } else { DOCKER_MANIFEST }.to_owned(),
        config: descriptor(if is_oci { OCI_CONFIG } else { DOCKER_CONFIG }, id.clone(), config_len),
        layers: layers.into_iter().map(|l| descriptor(&layer_type(&l.media_type), l.digest, l.size)).collect(),
    }
}

/// The path of the repository that has a layer, if it is another one on the target's registry.
fn other_path(known: &Distribution, target: &Reference) -> Option<String> {
    let path = known.repository.strip_prefix(target.domain())?.strip_prefix('/')?;
    (path != target.path()).then(|| path.to_owned())
}
