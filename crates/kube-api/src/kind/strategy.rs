//! How objects are prepared for storing, as far as several kinds do it alike: what a write of the whole object may not set, and generations.

use serde_json::Value;

use crate::object::Look;

/// A kind with `spec` and `status`: a write of the whole leaves the status as it is, and a changed spec is a new generation.
pub fn spec_and_status(new: &mut Value, old: Option<&Value>) {
    status(new, old);
    generation(new, old, &["spec"]);
}

/// A kind with `status`: a write of the whole leaves it as it is.
pub fn status(new: &mut Value, old: Option<&Value>) {
    match old.and_then(|old| old.get("status")) {
        Some(status) => new.put("status", status.clone()),
        None => drop(new.take_at("status")),
    }
}

/// Counts a generation when one of these fields changes.
pub fn generation(new: &mut Value, old: Option<&Value>, fields: &[&str]) {
    let Some(old) = old else {
        new.put("metadata.generation", 1);
        return;
    };
    let before = old.int("metadata.generation").unwrap_or_default();
    let is_changed = fields.iter().any(|field| new.get(field) != old.get(field));
    new.put("metadata.generation", before + i64::from(is_changed));
}

/// Sets what is left out.
pub fn fill(object: &mut Value, path: &str, default: impl Into<Value>) {
    if object.at(path).is_none() {
        object.put(path, default);
    }
}

/// The elements of a list, for writing.
pub fn list_mut<'a>(object: &'a mut Value, path: &str) -> impl Iterator<Item = &'a mut Value> {
    object.at_mut(path).and_then(Value::as_array_mut).into_iter().flatten()
}
