//! `v1 ConfigMap`.

use serde_json::Value;

use super::{Column, Errors, Kind, Path, column, syntax};
use crate::object::Look;

/// Settings for pods to read.
pub static KIND: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short: &["cm"],
    schema: "ConfigMap",
    columns: COLUMNS,
    validate,
    validate_update: frozen,
    ..Kind::BASE
};

/// The most bytes that all values have together.
pub const DATA_MAX: usize = 1024 * 1024;

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Data", "How many keys it has.", |object, _| {
        let count = |field| object.map(field).map_or(0, serde_json::Map::len);
        (count("data") + count("binaryData")).into()
    }),
    column::AGE,
];

fn validate(object: &Value, errors: &mut Errors) {
    let mut size = 0;
    for field in ["data", "binaryData"] {
        for (key, value) in object.map(field).into_iter().flatten() {
            let path = Path::new(field).key(key);
            if let Some(wrong) = syntax::config_key(key) {
                errors.invalid(&path, key.as_str(), wrong);
            }
            if field == "binaryData" && object.map("data").is_some_and(|data| data.contains_key(key)) {
                errors.invalid(&path, key.as_str(), "duplicate of key present in data");
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > DATA_MAX {
        errors.too_long(&Path::new("data"), DATA_MAX);
    }
}

/// What is immutable stays so, and as it is.
pub fn frozen(new: &Value, old: &Value, errors: &mut Errors) {
    if !old.is("immutable") {
        return;
    }
    let wrong = "field is immutable when `immutable` is set";
    if !new.is("immutable") {
        errors.forbidden(&Path::new("immutable"), wrong);
    }
    for field in ["data", "binaryData"] {
        if new.at(field) != old.at(field) {
            errors.forbidden(&Path::new(field), wrong);
        }
    }
}
