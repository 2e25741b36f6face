//! What registries do wrong, and what to do about it.

use crate::image::digest::Digest;
use crate::image::error::ErrorKind;

/// Why a registry could not serve.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No connection, or it broke.
    #[error("cannot reach registry {registry}: {reason}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What happened.
        reason: String,
    },
    /// Nothing came for too long.
    #[error(
        "registry {registry} stalled: nothing came for {seconds} s while {doing}; try again, or raise registry-stall-timeout-s in the configuration"
    )]
    Stalled {
        /// Host and port.
        registry: String,
        /// What was under way.
        doing: String,
        /// The limit.
        seconds: u64,
    },
    /// No such manifest, tag or repository.
    #[error("manifest for {0} not found: manifest unknown: manifest unknown")]
    NotFound(String),
    /// Not for these credentials.
    #[error(
        "{action} access denied for {repository}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"
    )]
    Denied {
        /// `pull` or `push`.
        action: &'static str,
        /// As Docker shows it.
        repository: String,
    },
    /// The credentials themselves were refused.
    #[error("login attempt to {registry} failed: unauthorized: {reason}")]
    Unauthorized {
        /// Host and port.
        registry: String,
        /// What the registry said.
        reason: String,
    },
    /// What came is not what was promised.
    #[error("registry {registry} sent a wrong {what}: expected {expected}, got {found}; nothing of it was kept")]
    Lied {
        /// Host and port.
        registry: String,
        /// Layer, manifest, configuration.
        what: String,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// An answer that makes no sense.
    #[error("registry {registry} answered {status} while {doing}: {body}")]
    Answer {
        /// Host and port.
        registry: String,
        /// HTTP status.
        status: u16,
        /// What was under way.
        doing: String,
        /// Its words, shortened.
        body: String,
    },
    /// A redirect that is not followed.
    #[error("registry {registry} redirected to {location}, which is refused: {reason}")]
    Redirect {
        /// Host and port.
        registry: String,
        /// Where to.
        location: String,
        /// Why not.
        reason: &'static str,
    },
    /// No image for this machine.
    #[error("no matching manifest for {platform} in the manifest list entries")]
    NoPlatform {
        /// `linux/amd64`.
        platform: String,
    },
    /// The one image there is, is for another machine.
    #[error(
        "image with reference {reference} was found but its platform ({found}) does not match the specified platform ({wanted})"
    )]
    WrongPlatform {
        /// As Docker shows it.
        reference: String,
        /// The image's.
        found: String,
        /// The one asked for.
        wanted: String,
    },
    /// A manifest of a kind that is not served.
    #[error("unsupported manifest media type {media_type:?} for {reference}: {reason}")]
    Unsupported {
        /// As Docker shows it.
        reference: String,
        /// What came.
        media_type: String,
        /// Why and what to do.
        reason: &'static str,
    },
}

impl RegistryError {
    /// The kind of answer this deserves.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RegistryError::NotFound(_) | RegistryError::Denied { .. } => ErrorKind::NotFound,
            RegistryError::NoPlatform { .. } | RegistryError::WrongPlatform { .. } => ErrorKind::NotFound,
            RegistryError::Unauthorized { .. } => ErrorKind::Denied,
            RegistryError::Unsupported { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Failed,
        }
    }

    pub(crate) fn wrong_digest(registry: &str, what: impl Into<String>, expected: &Digest, found: &Digest) -> Self {
        RegistryError::Lied {
            registry: registry.to_owned(),
            what: format!("{} digest", what.into()),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}
