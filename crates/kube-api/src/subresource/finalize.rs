//! `finalize`: whoever has cleared a namespace says so.

use serde_json::Value;

use crate::{object::Look, verb::update::Changed};

/// The namespace with the finalizers of the body.
pub fn change(namespace: &Value, body: &Value) -> Changed {
    let mut changed = namespace.clone();
    match body.text("metadata.resourceVersion") {
        "" => drop(changed.take_at("metadata.resourceVersion")),
        version => changed.put("metadata.resourceVersion", version),
    }
    match body.at("spec.finalizers") {
        Some(finalizers) => changed.put("spec.finalizers", finalizers.clone()),
        None => drop(changed.take_at("spec.finalizers")),
    }
    Ok((changed, Vec::new()))
}
