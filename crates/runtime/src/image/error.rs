//! Why an image could not be found, kept, unpacked or moved. The words of the first lines are Docker's, because
//! people and programs know them.

use std::io;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::reference::ReferenceError;
use super::registry::RegistryError;

/// What went wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The text is not a reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Nothing is known by this name.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// A short id that several images begin with.
    #[error("image id prefix {prefix} is ambiguous: it fits {}", .matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Short ids that begin with it.
        matches: Vec<String>,
    },
    /// Something still uses the image.
    #[error("conflict: unable to {action} ({severity}) - {reason}")]
    Conflict {
        /// `remove repository reference "x"` or `delete <short id>`.
        action: String,
        /// Whether force would help: `must force`, `must be forced`, `cannot be forced`.
        severity: &'static str,
        /// Who uses it.
        reason: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The index of the store cannot be read.
    #[error(
        "the image index {} cannot be used: {reason}; restore it from a backup, or move the directory {} away to begin with an empty store",
        .path.display(), .path.parent().unwrap_or(.path).display()
    )]
    CorruptIndex {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An image or layer on disk is not what it was.
    #[error("{what} is damaged on disk: {reason}; remove the image by force and pull or load it again")]
    Damaged {
        /// Image or layer.
        what: String,
        /// What was found.
        reason: String,
    },
    /// Content that is not what its description says.
    #[error("{what} does not match its digest: expected {expected}, got {found}")]
    WrongDigest {
        /// Layer, manifest, configuration.
        what: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A layer that must not or cannot be unpacked.
    #[error("cannot unpack layer: {0}")]
    Layer(#[from] LayerError),
    /// An archive or manifest that cannot be understood.
    #[error("{what}: {reason}")]
    Format {
        /// What was read.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry refused, lied or went silent.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The disk said no.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// `create`, `read`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The answer of the system.
        source: io::Error,
    },
    /// A blocking piece of work was cut off, as happens when the process ends.
    #[error("the work was interrupted")]
    Interrupted,
}

/// Why a layer was refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The stream ended in the middle, or a header is not one.
    #[error("not a valid tar stream: {0}")]
    Tar(String),
    /// The entry would leave the layer's directory or means nothing there.
    #[error("entry {path:?} is refused: {reason}")]
    Entry {
        /// Path as it stands in the archive.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Reading the stream or writing the entry failed.
    #[error("{what}: {source}")]
    Io {
        /// Path in the archive, or what was read.
        what: String,
        /// The answer of the system.
        source: io::Error,
    },
}

/// What kind of answer a caller should give; Docker's HTTP status stands beside each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400.
    Invalid,
    /// 403.
    Denied,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 500.
    Failed,
}

impl ImageError {
    /// The kind of answer this deserves.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ImageError::Reference(_) | ImageError::Invalid(_) | ImageError::Ambiguous { .. } => ErrorKind::Invalid,
            ImageError::Format { .. } | ImageError::Layer(LayerError::Tar(_) | LayerError::Entry { .. }) => {
                ErrorKind::Invalid
            }
            ImageError::NoSuchImage(_) => ErrorKind::NotFound,
            ImageError::Conflict { .. } => ErrorKind::Conflict,
            ImageError::Registry(error) => error.kind(),
            _ => ErrorKind::Failed,
        }
    }

    pub(crate) fn format(what: impl Into<String>, reason: impl ToString) -> ImageError {
        ImageError::Format { what: what.into(), reason: reason.to_string() }
    }
}

/// Says what was being done to which path when the system refused.
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { action, path, source }
}
