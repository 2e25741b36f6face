//! File systems in a container besides its root.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file system in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, absolute.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Whether it may be written.
    pub access: Access,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// `rprivate`, `rshared`, `rslave`, `private`, `shared` or `slave`.
        propagation: String,
        /// What to do when the path is missing.
        missing: Missing,
        /// With the file systems below it, or without.
        recursive: bool,
        /// What is read-only when the mount is.
        #[serde(default)]
        read_only: ReadOnly,
    },
    /// A named volume.
    Volume {
        /// Its name.
        name: String,
        /// Below its root.
        subpath: Option<String>,
        /// Whether an empty volume starts with what the image has at the target.
        fill: Fill,
    },
    /// Memory.
    Tmpfs {
        /// mount(8) options.
        options: Vec<String>,
    },
}

/// How far it goes that a bind mount is read-only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOnly {
    /// To the file systems below it as well.
    #[default]
    WithThoseBelow,
    /// To itself: those below stay as they are.
    Itself,
}

/// What to do when the path of a bind mount is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// Make a directory.
    Create,
    /// Refuse to start.
    Refuse,
}

/// Whether an empty volume starts with what the image has at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fill {
    /// It does.
    FromImage,
    /// It starts empty.
    Empty,
}

/// Whether something may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}
