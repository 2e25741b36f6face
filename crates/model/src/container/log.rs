//! Where a container's output goes.

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
    },
}
