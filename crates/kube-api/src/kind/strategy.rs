//! What many kinds do alike when an object is written: who may write the status, and how changes are counted.

use serde_json::Value;

use crate::object::Look;

/// The status is written through its own subresource only.
pub fn status_apart(new: &mut Value, old: Option<&Value>) {
    match old.and_then(|old| old.at("status")) {
        Some(status) => new.put("status", status.clone()),
        None => drop(new.take_at("status")),
    }
}

/// The status is written through its own subresource only, and changes of the wish are counted.
pub fn generations(new: &mut Value, old: Option<&Value>) {
    status_apart(new, old);
    let generation = match old {
        None => 1,
        Some(old) => {
            let before = old.int("metadata.generation").unwrap_or(1);
            before + i64::from(new.at("spec") != old.at("spec"))
        }
    };
    new.put("metadata.generation", generation);
}
