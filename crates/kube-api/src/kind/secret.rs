//! `v1 Secret`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Column, Errors, Kind, Path, column, config_map, syntax};
use crate::object::Look;

/// Passwords, keys and certificates for pods.
pub static KIND: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "Secret",
    columns: COLUMNS,
    default: take_in_text,
    validate,
    validate_update: |new, old, errors| {
        if new.text("type") != old.text("type") {
            errors.invalid(&Path::new("type"), new.text("type"), "field is immutable");
        }
        config_map::frozen(new, old, errors);
    },
    fields: &[("type", |secret| secret.text("type").to_owned())],
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Type", "What it is for.", |object, _| object.text("type").into()),
    column::text("Data", "How many keys it has.", |object, _| {
        object.map("data").map_or(0, serde_json::Map::len).into()
    }),
    column::AGE,
];

// `stringData` is only ever written.
fn take_in_text(object: &mut Value) {
    let Some(Value::Object(texts)) = object.take_at("stringData") else { return };
    let mut data = object.map("data").cloned().unwrap_or_default();
    for (key, text) in texts {
        data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
    if !data.is_empty() {
        object.put("data", data);
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("data");
    let mut size = 0;
    for (key, value) in object.map("data").into_iter().flatten() {
        if let Some(wrong) = syntax::config_key(key) {
            errors.invalid(&path.key(key), key.as_str(), wrong);
        }
        size += value.as_str().map_or(0, |text| text.len() / 4 * 3);
    }
    if size > config_map::DATA_MAX {
        errors.too_long(&path, config_map::DATA_MAX);
    }
    let has = |key: &str| object.map("data").is_some_and(|data| data.contains_key(key));
    let mut demand = |key: &str| {
        if !has(key) {
            errors.required(&path.key(key), "");
        }
    };
    match object.text("type") {
        "kubernetes.io/tls" => ["tls.crt", "tls.key"].into_iter().for_each(demand),
        "kubernetes.io/ssh-auth" => demand("ssh-privatekey"),
        "kubernetes.io/dockerconfigjson" => json_in(object, ".dockerconfigjson", &path, errors),
        "kubernetes.io/dockercfg" => json_in(object, ".dockercfg", &path, errors),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            ["username", "password"].into_iter().for_each(demand);
        }
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            let named = object.map("metadata.annotations").and_then(|all| all.get(account)).and_then(Value::as_str);
            if named.unwrap_or_default().is_empty() {
                errors.required(&Path::new("metadata.annotations").key(account), "");
            }
        }
        _ => {}
    }
}

fn json_in(object: &Value, key: &str, path: &Path, errors: &mut Errors) {
    let Some(text) = object.map("data").and_then(|data| data.get(key)).and_then(Value::as_str) else {
        errors.required(&path.key(key), "");
        return;
    };
    let decoded = BASE64_STANDARD.decode(text).unwrap_or_default();
    if let Err(wrong) = serde_json::from_slice::<Value>(&decoded) {
        errors.invalid(&path.key(key), "<secret contents redacted>", wrong.to_string());
    }
}
