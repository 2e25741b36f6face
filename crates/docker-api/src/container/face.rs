//! What is kept of a container, to be shown again as it was sent: the document that the state carries unread.

use model::{Container, Document, State};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::wire::{config::Config, host_config::HostConfig};

/// What is kept of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Face {
    /// With the image's defaults.
    pub(crate) config: Config,
    /// With Docker's defaults.
    pub(crate) host_config: HostConfig,
}

impl Face {
    /// What was kept of this container.
    pub(crate) fn of(state: &State, container: &Container) -> Self {
        kept(state, container)
    }

    /// The same as a document.
    pub(crate) fn to_document(&self) -> Document {
        Document::of(self).unwrap_or_default()
    }
}

/// As much of what was kept of a container as `T` has a place for; nothing of one that no Docker client made.
pub(crate) fn kept<T: DeserializeOwned + Default>(state: &State, container: &Container) -> T {
    state.documents.get(&container.id).and_then(|document| document.read().ok()).unwrap_or_default()
}
