//! As JSON, for programs.

use super::Map;

/// The map as one JSON object, indented.
pub fn json(map: &Map) -> String {
    // A map has string keys only and no number that JSON lacks, so this cannot fail.
    serde_json::to_string_pretty(map).unwrap_or_default() + "\n"
}
