//! Mounts as they are shown.

use engine::Places;
use model::container::{Access, Mount, MountSource};
use serde_json::{Value, json};

/// The `Mounts` of an inspect or a list. What is only memory is not among them.
pub(crate) fn list(mounts: &[Mount], places: &Places) -> Vec<Value> {
    mounts.iter().filter_map(|mount| show(mount, places)).collect()
}

fn show(mount: &Mount, places: &Places) -> Option<Value> {
    let writable = mount.access == Access::ReadWrite;
    match &mount.source {
        MountSource::Bind { path, propagation, .. } => Some(json!({
            "Type": "bind",
            "Source": path,
            "Destination": mount.target,
            "Mode": if writable { "" } else { "ro" },
            "RW": writable,
            "Propagation": propagation,
        })),
        MountSource::Volume { name, .. } => Some(json!({
            "Type": "volume",
            "Name": name,
            "Source": places.volume(name).join("_data"),
            "Destination": mount.target,
            "Driver": "local",
            "Mode": if writable { "z" } else { "ro" },
            "RW": writable,
            "Propagation": "",
        })),
        MountSource::Tmpfs { .. } => None,
    }
}
