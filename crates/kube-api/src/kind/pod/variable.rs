//! Validation of a container's environment.

use serde_json::Value;

use crate::{
    kind::{Errors, Path, syntax},
    object::Look,
};

const SOURCES: [&str; 5] = ["configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Finds what is wrong with the variables of a container.
pub fn validate(container: &Value, path: &Path, errors: &mut Errors) {
    for (at, variable) in container.list("env").iter().enumerate() {
        let path = path.field("env").index(at);
        if !variable.text("name").is_empty() {
            syntax::check(variable.at("name"), &path.field("name"), syntax::variable, errors);
        }
        if let Some(source) = variable.at("valueFrom") {
            self::source(source, variable.text("value"), &path.field("valueFrom"), errors);
        }
    }
    for (at, from) in container.list("envFrom").iter().enumerate() {
        let path = path.field("envFrom").index(at);
        if !from.text("prefix").is_empty() {
            syntax::check(from.at("prefix"), &path.field("prefix"), syntax::variable, errors);
        }
        match (from.at("configMapRef"), from.at("secretRef")) {
            (None, None) => errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"),
            (Some(_), Some(_)) => errors.invalid(&path, "", "may not have more than one field specified at a time"),
            (map, secret) => {
                let kind = if map.is_some() { "configMapRef" } else { "secretRef" };
                if map.or(secret).is_some_and(|named| named.text("name").is_empty()) {
                    errors.required(&path.field(kind).field("name"), "");
                }
            }
        }
    }
}

fn source(source: &Value, value: &str, path: &Path, errors: &mut Errors) {
    let given: Vec<&str> = SOURCES.into_iter().filter(|kind| source.at(kind).is_some()).collect();
    if given.is_empty() {
        let wrong =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        errors.invalid(path, "", wrong);
    } else if !value.is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if given.len() > 1 {
        errors.invalid(path, "", "may not have more than one field specified at a time");
    }
    if let Some(reference) = source.at("fieldRef") {
        field(reference, &FIELDS, &path.field("fieldRef"), errors);
    }
    if let Some(reference) = source.at("resourceFieldRef") {
        let resource = reference.text("resource");
        let known = RESOURCES.contains(&resource) || resource.contains(".hugepages-");
        if !resource.is_empty() && !known {
            errors.not_supported(&path.field("resourceFieldRef.resource"), resource, &RESOURCES);
        }
    }
    for kind in ["configMapKeyRef", "secretKeyRef"] {
        let Some(reference) = source.at(kind) else { continue };
        if reference.text("name").is_empty() {
            errors.required(&path.field(kind).field("name"), "");
        }
        if !reference.text("key").is_empty() {
            syntax::check(reference.at("key"), &path.field(kind).field("key"), syntax::config_key, errors);
        }
    }
}

/// Finds what is wrong with a reference to one of these fields of the pod, or to one of its labels or annotations.
pub fn field(reference: &Value, fields: &[&str], path: &Path, errors: &mut Errors) {
    let named = reference.text("fieldPath");
    let marked = ["metadata.labels['", "metadata.annotations['"];
    let is_mark = marked.iter().any(|start| named.strip_prefix(start).is_some_and(|rest| rest.ends_with("']")));
    if !named.is_empty() && !is_mark && !fields.contains(&named) {
        errors.not_supported(&path.field("fieldPath"), named, fields);
    }
}
