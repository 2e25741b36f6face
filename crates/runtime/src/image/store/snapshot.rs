//! The writable layer of a container: `DATA/containers/<id>/{upper,work}`, and the promise that the layers below it
//! stay as long as it does.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Outlives, write_atomically};
use super::{Store, blocking};
use crate::image::digest::{DiffId, ImageId};
use crate::image::error::{ImageError, io_error};

/// What to mount for a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The image below.
    pub image: ImageId,
    /// `lowerdir`, top first.
    pub lower: Vec<PathBuf>,
    /// `upperdir`: what the container changed.
    pub upper: PathBuf,
    /// `workdir` of overlayfs.
    pub work: PathBuf,
}

/// The layers a container stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) image: ImageId,
    pub(crate) layers: Vec<DiffId>,
}

impl Store {
    /// Makes the writable layer of a container on top of an image. Doing it again for the same image keeps it.
    pub async fn create_snapshot(&self, container: &str, image: &ImageId) -> Result<Snapshot, ImageError> {
        let (store, container, image) = (self.clone(), container.to_owned(), image.clone());
        blocking(move || store.make_snapshot(&container, &image)).await
    }

    /// What a container's writable layer is and stands on; `None` if it has none.
    pub fn snapshot(&self, container: &str) -> Result<Option<Snapshot>, ImageError> {
        let state = self.state();
        let Some(hold) = state.holds.get(container) else {
            return Ok(None);
        };
        let directory = self.container_directory(container);
        let layers = self.lower_dirs_of(&hold.layers)?;
        Ok(Some(Snapshot {
            image: hold.image.clone(),
            lower: std::iter::once(init_layer(self.root())).chain(layers).collect(),
            upper: directory.join("upper"),
            work: directory.join("work"),
        }))
    }

    /// Removes a container's writable layer, and layers below that only it still needed. Nothing must be mounted
    /// from it. Removing what is not there is no error.
    pub async fn remove_snapshot(&self, container: &str) -> Result<(), ImageError> {
        let (store, container) = (self.clone(), container.to_owned());
        blocking(move || store.drop_snapshot(&container)).await
    }

    /// Containers that have a writable layer.
    pub fn snapshots(&self) -> Vec<String> {
        self.state().holds.keys().cloned().collect()
    }

    fn make_snapshot(&self, container: &str, image: &ImageId) -> Result<Snapshot, ImageError> {
        if container.is_empty() || !container.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(ImageError::Invalid(format!("{container:?} is not a container id")));
        }
        self.update(|state| {
            let Some(record) = state.index.images.get(image) else {
                return Err(ImageError::NoSuchImage(image.to_string()));
            };
            let hold = Hold { image: image.clone(), layers: record.layers.clone() };
            if state.holds.get(container) == Some(&hold) {
                return Ok(());
            }
            let bytes = serde_json::to_vec(&hold).map_err(|error| ImageError::format("the hold", error))?;
            // The image itself keeps the layers after a power cut. Before it goes, see `update`, holds are made to last.
            write_atomically(&hold_path(self.root(), container), &bytes, Outlives::Process)?;
            state.holds.insert(container.to_owned(), hold);
            Ok(())
        })?;
        let directory = self.container_directory(container);
        let make = |path: &Path, mode| {
            std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io_error("create", path))
        };
        make(&directory, 0o710)?;
        make(&directory.join("work"), 0o700)?;
        let upper = directory.join("upper");
        make(&upper, 0o755)?;
        // The mode of the container's root directory, whatever our umask.
        std::fs::set_permissions(&upper, PermissionsExt::from_mode(0o755))
            .map_err(io_error("change the mode of", &upper))?;
        self.snapshot(container)?.ok_or(ImageError::Interrupted)
    }

    fn drop_snapshot(&self, container: &str) -> Result<(), ImageError> {
        if !self.state().holds.contains_key(container) {
            return Ok(());
        }
        let directory = self.container_directory(container);
        for name in ["upper", "work"] {
            let path = directory.join(name);
            match std::fs::remove_dir_all(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done.map_err(io_error("remove", &path))?,
            }
        }
        self.update(|state| {
            let path = hold_path(self.root(), container);
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            state.holds.remove(container);
            Ok(())
        })?;
        self.collect_garbage().map(drop)
    }

    fn container_directory(&self, container: &str) -> PathBuf {
        self.inner.data_root.join("containers").join(container)
    }
}

/// What every container has above its image, and no commit below it: `/.dockerenv`, by which programs know where they are.
pub(crate) fn make_init_layer(root: &Path) -> Result<(), ImageError> {
    let directory = init_layer(root);
    std::fs::create_dir_all(&directory).map_err(io_error("create", &directory))?;
    // The mode of the container's root directory, whatever our umask.
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755))
        .map_err(io_error("change the mode of", &directory))?;
    let file = directory.join(".dockerenv");
    std::fs::File::create(&file).map_err(io_error("create", &file))?;
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).map_err(io_error("change the mode of", &file))
}

fn init_layer(root: &Path) -> PathBuf {
    root.join("l").join("init")
}

/// Reads all holds. One that cannot be read stops the opening: forgetting it would remove layers in use.
pub(crate) fn read_holds(root: &Path) -> Result<BTreeMap<String, Hold>, ImageError> {
    let directory = root.join("holds");
    let mut holds = BTreeMap::new();
    for entry in std::fs::read_dir(&directory).map_err(io_error("read", &directory))? {
        let path = entry.map_err(io_error("read", &directory))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            // A hold that a crash kept from being written to its end.
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            continue;
        }
        let bytes = std::fs::read(&path).map_err(io_error("read", &path))?;
        if bytes.is_empty() {
            // A hold that a power cut kept from being written; its image is there, or it would have been.
            std::fs::remove_file(&path).map_err(io_error("remove", &path))?;
            continue;
        }
        let hold = serde_json::from_slice(&bytes).map_err(|error| {
            ImageError::format(format!("{} cannot be read (remove it if its container is gone)", path.display()), error)
        })?;
        let container = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        holds.insert(container, hold);
    }
    Ok(holds)
}

fn hold_path(root: &Path, container: &str) -> PathBuf {
    root.join("holds").join(container).with_extension("json")
}
