//! What every object's metadata must be.

use serde_json::Value;

use super::{Errors, Kind, NameRule, Path, Scope, syntax};
use crate::object::{Look, meta};

/// The most bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Finds what is wrong with the metadata of an object (new; old, if it is an update).
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let path = Path::new("metadata");
    if old.is_none() {
        names(kind, object, &path, errors);
    }
    syntax::check_labels(object.at("metadata.labels"), &path.field("labels"), errors);
    annotations(object, &path.field("annotations"), errors);
    for (at, finalizer) in object.list("metadata.finalizers").iter().enumerate() {
        syntax::check(Some(finalizer), &path.field("finalizers").index(at), syntax::qualified_name, errors);
    }
    owners(object, &path.field("ownerReferences"), errors);
    if let Some(old) = old {
        new_finalizers(object, old, &path.field("finalizers"), errors);
        for field in ["name", "namespace", "uid", "creationTimestamp"] {
            let whole = format!("metadata.{field}");
            if object.at(&whole) != old.at(&whole) {
                errors.invalid(
                    &path.field(field),
                    object.at(&whole).cloned().unwrap_or_default(),
                    "field is immutable",
                );
            }
        }
    }
}

fn names(kind: &Kind, object: &Value, path: &Path, errors: &mut Errors) {
    let rule = match kind.name {
        NameRule::Subdomain => syntax::subdomain,
        NameRule::Label => syntax::label,
        NameRule::Label1035 => syntax::label_1035,
        NameRule::Segment => syntax::segment,
    };
    // What the server adds to it is well-formed.
    let beginning = format!("{}x", object.text("metadata.generateName"));
    if object.at("metadata.generateName").is_some()
        && let Some(wrong) = rule(&beginning)
    {
        errors.invalid(&path.field("generateName"), object.text("metadata.generateName"), wrong);
    }
    match object.text("metadata.name") {
        "" => errors.required(&path.field("name"), "name or generateName is required"),
        name => {
            if let Some(wrong) = rule(name) {
                errors.invalid(&path.field("name"), name, wrong);
            }
        }
    }
    if kind.scope == Scope::Namespaced {
        syntax::check(object.at("metadata.namespace"), &path.field("namespace"), syntax::label, errors);
    }
}

fn annotations(object: &Value, path: &Path, errors: &mut Errors) {
    let Some(all) = object.map("metadata.annotations") else { return };
    for key in all.keys() {
        // Keys may have upper case letters.
        if let Some(wrong) = syntax::qualified_name(&key.to_lowercase()) {
            errors.invalid(path, key.as_str(), wrong);
        }
    }
    let size: usize = all.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

fn new_finalizers(object: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    if !meta::is_terminating(old) {
        return;
    }
    let before: Vec<&str> = meta::finalizers(old).collect();
    let added: Vec<&str> = meta::finalizers(object).filter(|one| !before.contains(one)).collect();
    if !added.is_empty() {
        let wrong = "no new finalizers can be added if the object is being deleted, found new finalizers";
        errors.forbidden(path, format!("{wrong} {added:?}"));
    }
}

fn owners(object: &Value, path: &Path, errors: &mut Errors) {
    let mut controller = None;
    for (at, owner) in object.list("metadata.ownerReferences").iter().enumerate() {
        let path = path.index(at);
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.text(field).is_empty() {
                errors.invalid(&path.field(field), owner.text(field), format!("{field} must not be empty"));
            }
        }
        if owner.is("controller") && controller.replace(owner.text("name")).is_some() {
            let wrong = "Only one reference can have Controller set to true";
            errors.invalid(&path, owner.clone(), wrong);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind;

    #[test]
    fn metadata_is_validated() {
        let config_map = kind::by_kind("", "ConfigMap").expect("a kind");
        let check = |metadata: Value, wrong: &str| {
            let mut errors = Errors::default();
            validate(config_map, &json!({ "metadata": metadata }), None, &mut errors);
            let told = errors.to_string();
            assert!(told.starts_with(wrong) && told.is_empty() == wrong.is_empty(), "{told}");
        };
        check(json!({ "name": "a", "namespace": "b", "labels": { "x.io/a": "" }, "finalizers": ["x.io/y"] }), "[]");
        check(json!({ "namespace": "b" }), "metadata.name: Required value: name or generateName is required");
        check(
            json!({ "name": "A_b", "namespace": "b" }),
            "metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of",
        );
        check(
            json!({ "name": "a", "namespace": "b", "labels": { "a": "x y" } }),
            "metadata.labels: Invalid value: \"x y\": a valid label must be an empty string or consist of",
        );
        check(
            json!({ "name": "a", "namespace": "b", "annotations": { "a": "x".repeat(300_000) } }),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        );
    }
}
