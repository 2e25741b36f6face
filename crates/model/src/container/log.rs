//! Where a container's output goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// Nowhere.
    None,
    /// A file of JSON lines, rotated.
    JsonFile {
        /// Bytes until it is rotated; none means never.
        max_size: Option<u64>,
        /// How many files are kept, at least 1.
        max_file: u32,
        /// What every line says of the container besides, by name: parts of a text, one after another.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        attributes: BTreeMap<String, Vec<LogPart>>,
    },
}

/// A part of what a line says of the container, as it is when the container starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPart {
    /// This.
    Text(String),
    /// The container's name, which may change between two starts.
    Name,
}
