//! The image store on disk, `DATA/images`:
//!
//! ```text
//! index.json              references and images; replaced atomically, the only thing that makes an image exist
//! configs/<hex>.json      image configurations, the exact bytes their id is the digest of
//! layers/<hex>/diff       a layer by diff id, as overlayfs wants it
//! layers/<hex>/recipe.zst how to make its tar stream again; compressed blobs are not kept
//! layers/<hex>/layer.json its size, and where registries have it
//! l/<short>               symlink to a layer's diff: mount options end at one page
//! holds/<container>.json  layers a container stands on, even when its image is gone
//! lock                    held by the one process that has the store open
//! tmp/                    work under way; emptied on open
//! ```
//!
//! Whatever moment a crash picks: the index is old or new, never between; what it does not name is removed on open.

mod disk;
mod index;
mod layers;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

pub(crate) use disk::Temp;
pub(crate) use index::{Index, Record};
pub(crate) use layers::{Distribution, Layer, Lease};
pub use snapshot::Snapshot;

use super::config::ImageConfig;
use super::digest::{DiffId, Digest, ImageId};
use super::error::{ImageError, io_error};
use super::reference::Reference;

/// All images of one data root. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Who downloads which layer now.
pub(crate) type Downloads = HashMap<DiffId, Arc<tokio::sync::Mutex<()>>>;

struct Inner {
    data_root: PathBuf,
    /// `DATA/images`.
    root: PathBuf,
    /// Read without waiting for the disk; replaced whole by the one writer.
    state: RwLock<Arc<State>>,
    writer: Mutex<()>,
    /// Layers that work under way needs, with how many need each.
    leases: Mutex<HashMap<DiffId, usize>>,
    /// One download of a layer at a time.
    downloads: Mutex<Downloads>,
    /// Held while the store is open: a second one would remove this one's work under way.
    _lock: File,
}

/// What is on disk, in memory.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) index: Index,
    /// Configurations of the images that can be used.
    pub(crate) configs: BTreeMap<ImageId, Arc<ImageConfig>>,
    /// Why the others cannot.
    pub(crate) damaged: BTreeMap<ImageId, String>,
    pub(crate) layers: BTreeMap<DiffId, Arc<Layer>>,
    /// By container id.
    pub(crate) holds: BTreeMap<String, snapshot::Hold>,
}

impl Store {
    /// Opens the store of this data root, or makes it. Removes what a crash left. Refuses a damaged index and a data
    /// root on overlayfs; images that are damaged on disk are kept aside (see [`Store::damaged`]).
    pub fn open(data_root: &Path) -> Result<Store, ImageError> {
        let root = data_root.join("images");
        disk::make_directories(data_root, &root)?;
        let lock = disk::lock_directory(&root)?;
        let index = Index::read(&root)?;
        disk::empty_directory(&root.join("tmp"))?;
        snapshot::make_init_layer(&root)?;
        let mut state =
            State { layers: layers::read_all(&root)?, holds: snapshot::read_holds(&root)?, ..State::default() };
        for (id, record) in &index.images {
            match read_config(&root, id, record, &state) {
                Ok(config) => drop(state.configs.insert(id.clone(), Arc::new(config))),
                Err(reason) => {
                    tracing::warn!(image = id.short(), reason, "an image is damaged; pull or load it again");
                    state.damaged.insert(id.clone(), reason);
                }
            }
        }
        state.index = index;
        let inner = Inner {
            data_root: data_root.to_owned(),
            root,
            state: RwLock::new(Arc::new(state)),
            writer: Mutex::default(),
            leases: Mutex::default(),
            downloads: Mutex::default(),
            _lock: lock,
        };
        let store = Store { inner: Arc::new(inner) };
        store.collect_garbage()?;
        store.remove_stray_configs()?;
        Ok(store)
    }

    /// Images that cannot be used, and why. Pulling or loading one again mends it.
    pub fn damaged(&self) -> Vec<(ImageId, String)> {
        self.state().damaged.iter().map(|(id, why)| (id.clone(), why.clone())).collect()
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn downloads(&self) -> &Mutex<Downloads> {
        &self.inner.downloads
    }

    pub(crate) fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Changes the index: on disk first, then for readers. Nothing changes if `change` fails.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut State) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let _one_writer = lock(&self.inner.writer);
        let before = self.state();
        let mut state = State::clone(&before);
        let result = change(&mut state)?;
        if before.index.images.keys().any(|image| !state.index.images.contains_key(image)) {
            // From now on the holds alone keep its layers.
            disk::sync_filesystem(self.root())?;
        }
        if state.index != before.index {
            state.index.write(self.root())?;
        }
        self.replace(state);
        Ok(result)
    }

    /// Makes an image exist: its configuration is written, its layers must be there. `reference` then points to it.
    pub(crate) fn add_image(
        &self,
        config: &[u8],
        parent: Option<ImageId>,
        references: &[Reference],
    ) -> Result<ImageId, ImageError> {
        let id = Digest::of(config);
        let parsed = parse_config(config)?;
        self.update(|state| {
            disk::write_atomically(&config_path(self.root(), &id), config, disk::Outlives::Power)?;
            // The index must never name content that a power cut can still take back.
            disk::sync_filesystem(self.root())?;
            let layers = &parsed.rootfs.diff_ids;
            if let Some(missing) = layers.iter().find(|diff_id| !state.layers.contains_key(diff_id)) {
                return Err(ImageError::Damaged {
                    what: format!("image {}", id.short()),
                    reason: format!("layer {missing} is missing"),
                });
            }
            let record = state.index.images.entry(id.clone()).or_insert_with(|| Record::new(layers.clone()));
            record.parent = parent.or(record.parent.take());
            for reference in references {
                state.index.point(reference, &id);
            }
            state.damaged.remove(&id);
            state.configs.insert(id.clone(), Arc::new(parsed));
            Ok(())
        })?;
        Ok(id)
    }

    /// A crash between writing a configuration and naming it in the index leaves one.
    fn remove_stray_configs(&self) -> Result<(), ImageError> {
        let state = self.state();
        let directory = self.root().join("configs");
        let expected: BTreeSet<PathBuf> = state.index.images.keys().map(|id| config_path(self.root(), id)).collect();
        for entry in std::fs::read_dir(&directory).map_err(io_error("read", &directory))? {
            let path = entry.map_err(io_error("read", &directory))?.path();
            if !expected.contains(&path) {
                std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            }
        }
        Ok(())
    }

    fn replace(&self, state: State) {
        *self.inner.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }
}

/// Runs blocking work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ImageError::Interrupted))
}

pub(crate) fn parse_config(bytes: &[u8]) -> Result<ImageConfig, ImageError> {
    let what = "the image configuration cannot be used";
    let config: ImageConfig = serde_json::from_slice(bytes).map_err(|error| ImageError::format(what, error))?;
    if config.rootfs.kind != "layers" {
        return Err(ImageError::format(what, format!("its rootfs is of type {:?}, not layers", config.rootfs.kind)));
    }
    if config.rootfs.diff_ids.len() > layers::DEPTH_MAX {
        return Err(ImageError::format(what, format!("max depth exceeded: more than {} layers", layers::DEPTH_MAX)));
    }
    Ok(config)
}

pub(crate) fn config_path(root: &Path, id: &ImageId) -> PathBuf {
    root.join("configs").join(id.hex()).with_extension("json")
}

/// A thread that died while it held the lock left the map whole: every change is one insert or remove.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_config(root: &Path, id: &ImageId, record: &Record, state: &State) -> Result<ImageConfig, String> {
    let path = config_path(root, id);
    let bytes = std::fs::read(&path).map_err(io_error("read", &path)).map_err(|e| e.to_string())?;
    let found = Digest::of(&bytes);
    if found != *id {
        return Err(format!("its configuration hashes to {found}"));
    }
    if let Some(missing) = record.layers.iter().find(|diff_id| !state.layers.contains_key(diff_id)) {
        return Err(format!("layer {missing} is missing"));
    }
    parse_config(&bytes).map_err(|e| e.to_string())
}
