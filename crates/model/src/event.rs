//! What happened, for those who watch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: i64,
    /// To what kind of thing.
    pub kind: EventKind,
    /// What, in one word: `create`, `start`, `die`, `connect`, `repair`.
    pub action: String,
    /// To which: a full id, or a volume's or an image's name.
    pub id: String,
    /// More about it: `name`, `image`, `exitCode`, labels.
    pub attributes: BTreeMap<String, String>,
}

/// Kinds of things that events are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A container.
    Container,
    /// A network.
    Network,
    /// A volume.
    Volume,
    /// An image.
    Image,
    /// The daemon itself.
    Daemon,
}
