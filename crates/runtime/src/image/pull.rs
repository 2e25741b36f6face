//! An image from a registry into the store. Every byte is compared with what the manifest promised before it counts:
//! sizes and digests of what came, and diff ids of what it unpacked to.

use std::collections::BTreeSet;
use std::io::BufReader;
use std::sync::{Arc, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::config::ImageConfig;
use super::digest::{DiffId, Digest, Hasher, ImageId};
use super::error::{ImageError, io_error};
use super::layer::compression::decompress;
use super::manifest::{Descriptor, Document, Manifest, check_layer_type};
use super::platform::Platform;
use super::progress::{Amount, Metered, Phase, ProgressSink, STEP};
use super::reference::Reference;
use super::registry::{Access, Credentials, Registry, RegistryError, RegistrySettings, endpoints, read_frame};
use super::store::{Distribution, Lease, Store, Temp, blocking, parse_config};

/// Layers that come at once; Docker's default too.
const DOWNLOADS_MAX: usize = 3;
/// How often a broken connection is taken up where it broke.
const ATTEMPTS_MAX: usize = 5;

/// What to pull.
#[derive(Clone)]
pub struct PullRequest {
    /// By tag or digest; without either, `latest`. A digest goes before a tag.
    pub reference: Reference,
    /// The machine it is for; the host's, if possible, unless given.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Who listens.
    pub progress: ProgressSink,
}

/// What a pull brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: ImageId,
    /// Of the manifest or index that the reference names.
    pub digest: Digest,
    /// Whether the reference now means another image than before.
    pub is_newer: bool,
}

/// An image in a registry, before its layers came.
struct Remote {
    /// Of what the reference names.
    digest: Digest,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    config: ImageConfig,
}

/// What the download of one layer needs.
#[derive(Clone)]
struct LayerPull {
    store: Store,
    registry: Arc<Registry>,
    repository: Reference,
    descriptor: Descriptor,
    diff_id: DiffId,
    progress: ProgressSink,
}

impl Store {
    /// Pulls an image. Layers that are here are not pulled; nothing is kept of a pull that fails.
    pub async fn pull(&self, request: PullRequest, settings: &RegistrySettings) -> Result<Pulled, ImageError> {
        let request = PullRequest { reference: request.reference.or_latest(), ..request };
        let mut result = Err(ImageError::NoSuchImage(request.reference.familiar()));
        for endpoint in endpoints(request.reference.domain(), settings) {
            let access = Access::Pull(request.reference.clone());
            result = match Registry::connect(&endpoint, request.credentials.as_ref(), access, settings).await {
                Ok(registry) => self.pull_from(Arc::new(registry), &request).await,
                Err(error) => Err(error.into()),
            };
            match &result {
                Ok(_) => break,
                Err(error) => tracing::debug!(registry = endpoint.name, %error, "a registry could not serve"),
            }
        }
        if result.is_err() {
            let store = self.clone();
            blocking(move || store.collect_garbage().map(drop)).await?;
        }
        result
    }

    /// The tags a registry has for a repository.
    pub async fn remote_tags(
        &self,
        repository: &Reference,
        credentials: Option<&Credentials>,
        settings: &RegistrySettings,
    ) -> Result<Vec<String>, ImageError> {
        let mut result = Ok(Vec::new());
        for endpoint in endpoints(repository.domain(), settings) {
            result = match Registry::connect(&endpoint, credentials, Access::Pull(repository.clone()), settings).await {
                Ok(registry) => registry.tags().await,
                Err(error) => Err(error),
            };
            if result.is_ok() {
                break;
            }
        }
        Ok(result?)
    }

    async fn pull_from(&self, registry: Arc<Registry>, request: &PullRequest) -> Result<Pulled, ImageError> {
        let reference = &request.reference;
        let asked = reference.digest().map(Digest::as_str).or(reference.tag()).unwrap_or_default();
        let remote = fetch(&registry, request, asked).await?;
        // Not before: a face that has told nothing yet can still answer with the error's own status.
        request.progress.named(asked, format!("Pulling from {}", reference.path()));
        let leases = self.pull_layers(&registry, request, &remote).await?;
        let digest_reference = reference.with_digest(&remote.digest);
        let target = if reference.digest().is_some() { digest_reference.clone() } else { reference.clone() };
        let before = self.state().index.references.get(&target).cloned();
        let (store, bytes) = (self.clone(), remote.config_bytes);
        let references = [target, digest_reference];
        let id = blocking(move || store.add_image(&bytes, None, &references)).await?;
        drop(leases);
        let is_newer = before.as_ref() != Some(&id);
        request.progress.line(format!("Digest: {}", remote.digest));
        let status = if is_newer { "Downloaded newer image for" } else { "Image is up to date for" };
        request.progress.line(format!("Status: {status} {}", reference.familiar()));
        Ok(Pulled { id, digest: remote.digest, is_newer })
    }

    async fn pull_layers(
        &self,
        registry: &Arc<Registry>,
        request: &PullRequest,
        remote: &Remote,
    ) -> Result<Vec<Lease>, ImageError> {
        let diff_ids = &remote.config.rootfs.diff_ids;
        let leases = diff_ids.iter().map(|diff_id| self.lease(diff_id)).collect();
        let mut tasks = JoinSet::new();
        let slots = Arc::new(Semaphore::new(DOWNLOADS_MAX));
        let mut seen = BTreeSet::new();
        for (descriptor, diff_id) in remote.manifest.layers.iter().zip(diff_ids) {
            let id = descriptor.digest.short();
            if self.state().layers.contains_key(diff_id) {
                request.progress.layer(id, Phase::AlreadyExists);
            } else if seen.insert(diff_id) {
                request.progress.layer(id, Phase::PullingFsLayer);
                let layer = LayerPull {
                    store: self.clone(),
                    registry: registry.clone(),
                    repository: request.reference.clone(),
                    descriptor: descriptor.clone(),
                    diff_id: diff_id.clone(),
                    progress: request.progress.clone(),
                };
                tasks.spawn(pull_layer(layer, slots.clone()));
            }
        }
        // The first error drops the set, which ends the other downloads.
        while let Some(done) = tasks.join_next().await {
            done.unwrap_or(Err(ImageError::Interrupted))?;
        }
        Ok(leases)
    }

    /// Whoever holds it downloads the layer; others wait and then find it.
    fn download_lock(&self, diff_id: &DiffId) -> Arc<tokio::sync::Mutex<()>> {
        let mut downloads = self.downloads().lock().unwrap_or_else(PoisonError::into_inner);
        downloads.retain(|_, lock| Arc::strong_count(lock) > 1);
        downloads.entry(diff_id.clone()).or_default().clone()
    }
}

/// Finds the manifest for the platform and the configuration.
async fn fetch(registry: &Registry, request: &PullRequest, asked: &str) -> Result<Remote, ImageError> {
    let top = registry.manifest(asked).await?;
    let digest = top.digest;
    let manifest = match Document::parse(&top.bytes, &top.media_type)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let platform = request.platform.clone().unwrap_or_else(Platform::host);
            let Some(chosen) = index.choose(&platform) else {
                return Err(RegistryError::NoPlatform { platform: platform.to_string() }.into());
            };
            let fetched = registry.manifest(chosen.digest.as_str()).await?;
            if fetched.bytes.len() as u64 != chosen.size {
                return Err(registry.wrong_len("manifest size", chosen.size, fetched.bytes.len() as u64).into());
            }
            match Document::parse(&fetched.bytes, &chosen.media_type)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => {
                    return Err(ImageError::format("the manifest cannot be used", "an index in an index"));
                }
            }
        }
    };
    manifest.layers.iter().try_for_each(|layer| check_layer_type(&layer.media_type))?;
    let config_bytes = registry.config(&manifest.config.digest, manifest.config.size).await?;
    let config = parse_config(&config_bytes)?;
    let (listed, described) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if listed != described {
        let reason = format!("it lists {listed} layers, its configuration {described}");
        return Err(ImageError::format("the manifest cannot be used", reason));
    }
    if let Some(wanted) = request.platform.as_ref().filter(|wanted| !wanted.accepts(&Platform::from(&config))) {
        let found = Platform::from(&config).to_string();
        let reference = request.reference.familiar();
        return Err(RegistryError::WrongPlatform { reference, found, wanted: wanted.to_string() }.into());
    }
    Ok(Remote { digest, manifest, config_bytes, config })
}

async fn pull_layer(layer: LayerPull, slots: Arc<Semaphore>) -> Result<(), ImageError> {
    let id = layer.descriptor.digest.short().to_owned();
    let tell = |phase| layer.progress.layer(&id, phase);
    let lock = layer.store.download_lock(&layer.diff_id);
    if slots.available_permits() == 0 || lock.try_lock().is_err() {
        tell(Phase::Waiting);
    }
    let _alone = lock.lock().await;
    let _slot = slots.acquire().await;
    if layer.store.state().layers.contains_key(&layer.diff_id) {
        tell(Phase::PullComplete);
        return Ok(());
    }
    let temp = Temp::new(layer.store.root());
    download(&layer, &temp).await?;
    tell(Phase::DownloadComplete);
    let unpacking = layer.clone();
    blocking(move || unpack(&unpacking, &temp)).await?;
    tell(Phase::PullComplete);
    Ok(())
}

/// Brings the compressed layer into a temporary file and compares size and digest.
async fn download(layer: &LayerPull, temp: &Temp) -> Result<(), ImageError> {
    let LayerPull { registry, descriptor, progress, .. } = layer;
    let failed = |action| io_error(action, temp.path());
    let mut file = tokio::fs::File::create(temp.path()).await.map_err(failed("create"))?;
    let mut hasher = Hasher::default();
    let mut attempts = 0;
    while hasher.len() < descriptor.size || attempts == 0 {
        attempts += 1;
        match download_once(layer, &mut file, &mut hasher).await {
            Err(ImageError::Registry(RegistryError::Unreachable { .. })) if attempts < ATTEMPTS_MAX => {}
            Ok(()) if hasher.len() < descriptor.size && attempts >= ATTEMPTS_MAX => {
                return Err(registry.wrong_len("layer size", descriptor.size, hasher.len()).into());
            }
            done => done?,
        }
    }
    file.flush().await.map_err(failed("write"))?;
    progress.layer(descriptor.digest.short(), Phase::VerifyingChecksum);
    match hasher.finish() {
        found if found == descriptor.digest => Ok(()),
        found => Err(RegistryError::wrong_digest(&registry.name, "layer", &descriptor.digest, &found).into()),
    }
}

/// One connection's worth of a layer. Ends without error where the registry ended the body, early or not.
async fn download_once(layer: &LayerPull, file: &mut tokio::fs::File, hasher: &mut Hasher) -> Result<(), ImageError> {
    let LayerPull { registry, descriptor, progress, .. } = layer;
    let (id, total) = (descriptor.digest.short(), descriptor.size);
    let mut blob = registry.blob(&descriptor.digest, hasher.len()).await?;
    if blob.offset != hasher.len() {
        use tokio::io::AsyncSeekExt;
        *hasher = Hasher::default();
        file.rewind().await.map_err(io_error("write", layer.store.root()))?;
    }
    if let Some(len) = blob.len.filter(|len| blob.offset + len != total) {
        return Err(registry.wrong_len("layer size", total, blob.offset + len).into());
    }
    let doing = format!("pulling layer {id}");
    let mut told = hasher.len();
    progress.layer(id, Phase::Downloading(Amount { current: told, total }));
    while let Some(bytes) = read_frame(&mut blob.body, &registry.name, registry.stall_timeout, &doing).await? {
        if hasher.len() + bytes.len() as u64 > total {
            return Err(registry.wrong_len("layer size", total, hasher.len() + bytes.len() as u64).into());
        }
        file.write_all(&bytes).await.map_err(io_error("write", layer.store.root()))?;
        hasher.update(&bytes);
        if hasher.len() >= told + STEP {
            told = hasher.len();
            progress.layer(id, Phase::Downloading(Amount { current: told, total }));
        }
    }
    Ok(())
}

fn unpack(layer: &LayerPull, temp: &Temp) -> Result<(), ImageError> {
    let id = layer.descriptor.digest.short();
    let total = layer.descriptor.size;
    let tell = |current| layer.progress.layer(id, Phase::Extracting(Amount { current, total }));
    tell(0);
    let file = std::fs::File::open(temp.path()).map_err(io_error("open", temp.path()))?;
    let stream = decompress(BufReader::new(Metered::new(file, tell))).map_err(io_error("read", temp.path()))?;
    layer.store.ingest(stream, Some(&layer.diff_id))?;
    tell(total);
    layer.store.remember(
        &layer.diff_id,
        Distribution {
            repository: layer.repository.name(),
            digest: layer.descriptor.digest.clone(),
            size: layer.descriptor.size,
            media_type: layer.descriptor.media_type.clone(),
        },
    )
}
