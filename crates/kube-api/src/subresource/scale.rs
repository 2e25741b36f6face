//! `scale`: how many, of whatever can be counted (`autoscaling/v1` Scale).

use serde_json::{Value, json};

use crate::{
    object::{Look, meta},
    status::Failure,
    verb::update::Changed,
};

/// An object as its scale.
pub fn of(object: &Value) -> Value {
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.at(&format!("metadata.{field}")) {
            metadata[field] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": object.int("spec.replicas").unwrap_or_default() },
        "status": { "replicas": object.int("status.replicas").unwrap_or_default() },
    });
    let selector = selector(object);
    if !selector.is_empty() {
        scale.put("status.selector", selector);
    }
    scale
}

/// The object with the number of a scale.
pub fn change(object: &Value, scale: &Value) -> Changed {
    let replicas = scale.int("spec.replicas").unwrap_or_default();
    if replicas < 0 {
        let name = meta::name(object);
        let message = format!(
            "Scale.autoscaling {name:?} is invalid: spec.replicas: Invalid value: {replicas}: must be greater than or equal to 0"
        );
        return Err(Failure::unprocessable(message));
    }
    let mut changed = object.clone();
    let version = scale.text("metadata.resourceVersion");
    match version {
        "" => drop(changed.take_at("metadata.resourceVersion")),
        version => changed.put("metadata.resourceVersion", version),
    }
    changed.put("spec.replicas", replicas);
    Ok((changed, Vec::new()))
}

/// A label selector as text.
fn selector(object: &Value) -> String {
    let labels = object.map("spec.selector.matchLabels").into_iter().flatten();
    let mut terms: Vec<String> =
        labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    for expression in object.list("spec.selector.matchExpressions") {
        let key = expression.text("key");
        let values: Vec<&str> = expression.list("values").iter().filter_map(Value::as_str).collect();
        let values = values.join(",");
        terms.push(match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}
