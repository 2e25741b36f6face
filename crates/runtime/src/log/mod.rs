//! What a container's process wrote, kept as Docker's `json-file` log driver keeps it: one JSON object a line,
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`, with `"attrs":{"name":"value"}` before the time
//! where that was asked for. A line longer than 16 KiB becomes several entries of which only the last ends in a newline.

pub mod reader;
pub mod writer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::shim::protocol::Stream;

/// A longer line is split into entries of this size.
pub const ENTRY_MAX_BYTES: usize = 16 * 1024;

/// One line of the log, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The text, with its newline unless it is a part.
    pub log: String,
    /// Which output it was written to.
    pub stream: Stream,
    /// What was asked to be said of the container with every entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attrs: BTreeMap<String, String>,
    /// When the shim read it.
    pub time: jiff::Timestamp,
}

/// The path of the log file that was rotated away `age` rotations ago; 0 is the current one.
fn rotated(path: &std::path::Path, age: u32) -> std::path::PathBuf {
    if age == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}
