//! Metadata that the server writes: identity, times, generations, finalizers.

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::Look;

/// An object's identity in messages and keys.
pub fn name(object: &Value) -> &str {
    object.text("metadata.name")
}

/// Its namespace; empty for an object of the cluster.
pub fn namespace(object: &Value) -> &str {
    object.text("metadata.namespace")
}

/// A time as objects have it: RFC 3339, whole seconds, UTC.
pub fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time with microseconds (`metav1.MicroTime`).
pub fn micro_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A new object's identity. What the client may not say is taken out.
pub fn born(object: &mut Value, uid: String, now: Timestamp) {
    for gone in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
        object.take_at(&format!("metadata.{gone}"));
    }
    object.put("metadata.uid", uid);
    object.put("metadata.creationTimestamp", time(now));
}

/// What stays of an object's identity when it is written again.
pub fn kept(new: &mut Value, old: &Value) {
    for field in
        ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName"]
    {
        let path = format!("metadata.{field}");
        match old.at(&path) {
            Some(value) => new.put(&path, value.clone()),
            None => drop(new.take_at(&path)),
        }
    }
    new.take_at("metadata.selfLink");
}

/// Whether it is on its way out.
pub fn is_terminating(object: &Value) -> bool {
    object.at("metadata.deletionTimestamp").is_some()
}

/// Its finalizers.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object.list("metadata.finalizers").iter().filter_map(Value::as_str)
}

/// Adds a finalizer once, or takes it away.
pub fn set_finalizer(object: &mut Value, finalizer: &str, there: bool) {
    let mut all: Vec<Value> =
        object.list("metadata.finalizers").iter().filter(|f| **f != *finalizer).cloned().collect();
    if there {
        all.push(finalizer.into());
    }
    if all.is_empty() {
        object.take_at("metadata.finalizers");
    } else {
        object.put("metadata.finalizers", all);
    }
}

/// The object without what it holds: only kind, version and metadata.
pub fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.at("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}
