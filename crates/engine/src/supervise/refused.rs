//! Why a container's process could not be started, in the words Docker's users know.

use std::{
    io,
    path::{Path, PathBuf},
};

use model::ContainerId;
use runtime::{RuntimeError, image::ImageError, oci::OciError, rootfs::FilesError, words::sentence};
use thiserror::Error;

/// Why a process could not be started, and the exit code for it.
#[derive(Debug)]
pub struct Refused {
    /// 125: not the process's fault; 126 and 127 as shells have them.
    pub code: i32,
    /// The reason, in the words Docker's users know.
    pub message: String,
}

/// Why a launch could not be made ready.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// It was removed meanwhile.
    #[error("the container was removed while it was starting")]
    Gone,
    /// The journal names what is no image.
    #[error("the container's image {0} is not an image id")]
    Image(String),
    /// The layers are not there.
    #[error(transparent)]
    Layers(#[from] ImageError),
    /// It cannot be described.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The container whose namespaces it shares does not run.
    #[error("cannot join namespaces of a non running container: {0}")]
    Peer(ContainerId),
    /// A bind mount's path is missing.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    Missing(PathBuf),
    /// What a volume's options name is missing.
    #[error(
        "error while mounting volume '{volume}': its device {device} does not exist: make it, or make the volume anew with another"
    )]
    Device {
        /// Its name.
        volume: String,
        /// The option.
        device: String,
    },
    /// A volume cannot be filled.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The file system refused.
    #[error("cannot make {path}")]
    File {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What becomes of the file system's refusal of a path.
pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::File { path, source }
}

impl From<PrepareError> for Refused {
    fn from(error: PrepareError) -> Self {
        Self { code: 125, message: sentence(&error) }
    }
}

impl From<RuntimeError> for Refused {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::Start(failure) => Self { code: failure.code, message: failure.message },
            other => Self { code: 125, message: sentence(&other) },
        }
    }
}
