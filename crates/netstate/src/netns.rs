//! Network namespaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The host's own namespace, or one that linkspan made, named by its file under `RUN/netns/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NetnsName {
    /// The namespace the daemon runs in.
    Host,
    /// A namespace of ours; the name is a file name without slashes.
    Named(String),
}

impl NetnsName {
    /// The namespace of that name.
    pub fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }
}

impl fmt::Display for NetnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// A namespace that exists, with its loopback link up. The host's is never created or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {}
