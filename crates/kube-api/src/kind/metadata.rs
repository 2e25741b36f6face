//! What every object's metadata must be like: names, labels, annotations, owners; and what of it never changes (the pages "Object names
//! and IDs", "Labels and selectors", "Annotations"; RFC 1123, RFC 1035).

use serde_json::Value;

use super::{Errors, Kind, NameRule, Path};
use crate::object::{Look, meta, name};

/// How much all annotations of an object may have together, bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and \
                         end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
                     alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
                          and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
                          '[a-z]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
                   character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                   '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end \
                     with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                     '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Finds what is wrong with an object's metadata.
pub fn validate(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let at = Path::new("metadata");
    if old.is_none() {
        object_name(kind.name, meta::name(object), &at.field("name"), errors);
    }
    labels(object, &at.field("labels"), errors);
    annotations(object, &at.field("annotations"), errors);
    owners(object, &at.field("ownerReferences"), errors);
    if let Some(old) = old.filter(|old| meta::is_terminating(old)) {
        let before: Vec<&str> = meta::finalizers(old).collect();
        let added: Vec<&str> = meta::finalizers(object).filter(|one| !before.contains(one)).collect();
        if !added.is_empty() {
            let words = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.forbidden(&at.field("finalizers"), words);
        }
    }
}

fn object_name(rule: NameRule, text: &str, at: &Path, errors: &mut Errors) {
    if text.is_empty() {
        return errors.required(at, "name or generateName is required");
    }
    let (good, words, most) = match rule {
        NameRule::Subdomain => (name::is_dns_subdomain(text), SUBDOMAIN, 253),
        NameRule::Label => (name::is_dns_label(text), LABEL, 63),
        NameRule::Label1035 => {
            let alphabetic = text.starts_with(|c: char| c.is_ascii_lowercase());
            (alphabetic && name::is_dns_label(text), LABEL_1035, 63)
        }
        NameRule::Segment => (name::is_path_segment(text), "may not contain '/', '%', or be '.' or '..'", usize::MAX),
    };
    if text.len() > most {
        errors.invalid(at, text, format!("must be no more than {most} characters"));
    } else if !good {
        errors.invalid(at, text, words);
    }
}

/// Labels of an object, or those that a selector asks for.
fn labels(object: &Value, at: &Path, errors: &mut Errors) {
    for (key, value) in object.map("metadata.labels").into_iter().flatten() {
        label_key(key, at, errors);
        let value = value.as_str().unwrap_or_default();
        if value.len() > 63 {
            errors.invalid(at, value, "must be no more than 63 bytes");
        } else if !name::is_label_value(value) {
            errors.invalid(at, value, VALUE);
        }
    }
}

fn label_key(key: &str, at: &Path, errors: &mut Errors) {
    if name::is_label_key(key) {
        return;
    }
    match key.split_once('/') {
        Some((prefix, _)) if !name::is_dns_subdomain(prefix) => {
            errors.invalid(at, key, format!("prefix part {SUBDOMAIN}"))
        }
        _ if key.rsplit('/').next().is_some_and(str::is_empty) => {
            errors.invalid(at, key, "name part must be non-empty")
        }
        _ if key.rsplit('/').next().is_some_and(|name| name.len() > 63) => {
            errors.invalid(at, key, "name part must be no more than 63 bytes");
        }
        _ => errors.invalid(at, key, KEY),
    }
}

fn annotations(object: &Value, at: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in object.map("metadata.annotations").into_iter().flatten() {
        label_key(&key.to_lowercase(), at, errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(at, ANNOTATIONS_MAX);
    }
}

fn owners(object: &Value, at: &Path, errors: &mut Errors) {
    let owners = object.list("metadata.ownerReferences");
    for (index, owner) in owners.iter().enumerate() {
        let at = at.index(index);
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner.text(field).is_empty() {
                errors.required(&at.field(field), "must not be empty");
            }
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner.is("controller"));
    if let (Some(one), Some(other)) = (controllers.next(), controllers.next()) {
        let words = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
            one.text("kind"),
            one.text("name"),
            other.text("kind"),
            other.text("name")
        );
        errors.invalid(at, serde_json::Value::Array(owners.to_vec()), words);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kind::config_map::KIND;

    #[test]
    fn metadata_is_judged_as_kubernetes_does() {
        let check = |metadata: Value, expected: &str| {
            let mut errors = Errors::default();
            validate(&KIND, &json!({ "metadata": metadata }), None, &mut errors);
            let said = if errors.is_empty() { String::new() } else { errors.to_string() };
            assert!(said.starts_with(expected) && said.is_empty() == expected.is_empty(), "{said}");
        };
        check(json!({ "name": "a.b-c", "labels": { "kubernetes.io/os": "linux", "empty": "" } }), "");
        check(json!({}), "metadata.name: Required value: name or generateName is required");
        check(
            json!({ "name": "A" }),
            "metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of",
        );
        check(json!({ "name": "x".repeat(254) }), "metadata.name: Invalid value: \"xxx");
        check(
            json!({ "name": "a", "labels": { "a b": "c" } }),
            "metadata.labels: Invalid value: \"a b\": name part must consist of",
        );
        check(
            json!({ "name": "a", "labels": { "a": "b c" } }),
            "metadata.labels: Invalid value: \"b c\": a valid label must be",
        );
        check(
            json!({ "name": "a", "labels": { "A_/b": "c" } }),
            "metadata.labels: Invalid value: \"A_/b\": prefix part a lowercase",
        );
        check(
            json!({ "name": "a", "annotations": { "a": "x".repeat(300_000) } }),
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        );
        check(
            json!({ "name": "a", "ownerReferences": [{ "kind": "Pod", "name": "p", "apiVersion": "v1" }] }),
            "metadata.ownerReferences[0].uid: Required value",
        );
    }
}
