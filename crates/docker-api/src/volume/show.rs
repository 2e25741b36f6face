//! Volumes as Docker shows them.

use std::{collections::BTreeMap, path::PathBuf};

use engine::Places;
use model::Volume;
use serde_json::{Value, json};

use super::list::labels;
use crate::time::rfc3339;

/// What a volume takes, for `docker system df`.
pub(crate) struct Usage {
    /// Bytes on disk; -1 if that cannot be said.
    pub(crate) size: i64,
    /// How many containers mount it.
    pub(crate) users: usize,
}

/// A volume.
pub(crate) fn show(volume: &Volume, places: &Places) -> Value {
    // Docker writes nothing at all as null.
    let or_null = |map: &BTreeMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    json!({
        "CreatedAt": rfc3339(volume.created_ms),
        "Driver": "local",
        "Labels": or_null(&labels(volume)),
        "Mountpoint": mountpoint(places, &volume.name),
        "Name": volume.name,
        "Options": or_null(&volume.options),
        "Scope": "local",
    })
}

/// The same with what it takes.
pub(crate) fn show_used(volume: &Volume, places: &Places, usage: &Usage) -> Value {
    let mut shown = show(volume, places);
    shown["UsageData"] = json!({ "RefCount": usage.users, "Size": usage.size });
    shown
}

/// Where a volume's files are.
pub(crate) fn mountpoint(places: &Places, name: &str) -> PathBuf {
    places.volume(name).join("_data")
}
