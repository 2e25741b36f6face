//! Whether values are of the types that the schema says, with the messages of Kubernetes' decoder; and whether required fields are there
//! and words are among the possible ones, with the messages of its validation.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::{Field, Shape, Type, quantity::Quantity};
use crate::kind::{Errors, Path};

/// Refuses a value that is not of this type.
///
/// # Errors
/// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32` and the like.
pub fn check(of: &Type, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => check_object(of, fields, "").map_err(|wrong| wrong.decoded()),
        _ => Err(format!("json: cannot unmarshal {} into Go value of type {}", named(value), go_name(of))),
    }
}

/// The same for what a strategic merge patch has made, in the words that clients know of it.
///
/// # Errors
/// `cannot restore map from string` and the like.
pub fn check_patched(of: &Type, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => check_object(of, fields, "").map_err(|wrong| wrong.restored()),
        _ => Err(format!("cannot restore struct from: {}", named(value))),
    }
}

/// Finds required fields of a valid type that are not there, and words that are not possible. What `status` says is not looked at.
pub fn check_values(of: &Type, value: &Value, errors: &mut Errors) {
    let Value::Object(fields) = value else { return };
    for (name, field) in of.fields.iter().filter(|(name, _)| !matches!(**name, "metadata" | "status")) {
        value_of(field, fields.get(*name), &Path::new(name), errors);
    }
}

fn check_object(of: &Type, fields: &Map<String, Value>, path: &str) -> Result<(), Wrong> {
    for (name, value) in fields {
        let Some(field) = of.fields.get(name.as_str()) else { continue };
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        check_shape(&field.shape, value, &path).map_err(|wrong| match wrong {
            Wrong::Kind { owner: "", path, found, wanted } => {
                let owner = of.name.rsplit('.').next().unwrap_or(of.name);
                Wrong::Kind { owner, path, found, wanted }
            }
            told => told,
        })?;
    }
    Ok(())
}

enum Wrong {
    /// Another kind of JSON; `owner` is the type that has the field.
    Kind { owner: &'static str, path: String, found: String, wanted: String },
    /// In words.
    Text(String),
}

impl Wrong {
    fn decoded(self) -> String {
        match self {
            Self::Kind { owner, path, found, wanted } => {
                format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")
            }
            Self::Text(text) => text,
        }
    }

    fn restored(self) -> String {
        match self {
            Self::Kind { found, wanted, .. } if wanted.starts_with("map[") => {
                format!("cannot restore map from {found}")
            }
            Self::Kind { found, wanted, .. } if wanted.starts_with("[]") => {
                format!("cannot restore slice from {found}")
            }
            Self::Kind { found, wanted, .. } if wanted.contains('.') => format!("cannot restore struct from: {found}"),
            Self::Kind { wanted, .. } => format!("unrecognized type: {wanted}"),
            Self::Text(text) => text,
        }
    }
}

fn check_shape(shape: &Shape, value: &Value, path: &str) -> Result<(), Wrong> {
    let mismatch = || Wrong::Kind { owner: "", path: path.to_owned(), found: named(value), wanted: go_type(shape) };
    match (shape, value) {
        (_, Value::Null) | (Shape::Any, _) | (Shape::String, Value::String(_)) | (Shape::Bool, Value::Bool(_)) => {
            Ok(())
        }
        (Shape::Number, Value::Number(_)) | (Shape::IntOrString, Value::String(_)) => Ok(()),
        (Shape::Int32 | Shape::IntOrString, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            if fits { Ok(()) } else { Err(too_precise(number, shape, path)) }
        }
        (Shape::Int64, Value::Number(number)) if !number.is_i64() => Err(too_precise(number, shape, path)),
        (Shape::Int64, Value::Number(_)) => Ok(()),
        (Shape::Quantity, Value::String(_) | Value::Number(_)) => check_quantity(value),
        (Shape::Time | Shape::MicroTime, Value::String(text)) => check_time(text),
        (Shape::Bytes, Value::String(text)) => check_bytes(text),
        (Shape::Object(name), Value::Object(fields)) => match super::lookup(name) {
            Some(of) => check_object(of, fields, path),
            None => Ok(()),
        },
        (Shape::List(of), Value::Array(elements)) => {
            elements.iter().try_for_each(|element| check_shape(of, element, path))
        }
        (Shape::Map(of), Value::Object(entries)) => entries.values().try_for_each(|entry| check_shape(of, entry, path)),
        _ => Err(mismatch()),
    }
}

fn too_precise(number: &serde_json::Number, shape: &Shape, path: &str) -> Wrong {
    Wrong::Kind { owner: "", path: path.to_owned(), found: format!("number {number}"), wanted: go_type(shape) }
}

fn check_quantity(value: &Value) -> Result<(), Wrong> {
    let pattern = r"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    match Quantity::read(value) {
        Some(_) => Ok(()),
        None => Err(Wrong::Text(format!("quantities must match the regular expression {pattern}"))),
    }
}

fn check_time(text: &str) -> Result<(), Wrong> {
    match text.parse::<jiff::Timestamp>() {
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => Ok(()),
        Err(_) => {
            let layout = "2006-01-02T15:04:05Z07:00";
            Err(Wrong::Text(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")))
        }
    }
}

fn check_bytes(text: &str) -> Result<(), Wrong> {
    match BASE64_STANDARD.decode(text) {
        Ok(_) => Ok(()),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => text.len() / 4 * 4,
            };
            Err(Wrong::Text(format!("illegal base64 data at input byte {at}")))
        }
    }
}

/// JSON's kinds as Go names them.
fn named(value: &Value) -> String {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
    .to_owned()
}

/// A shape as Go names it.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Int32 => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::IntOrString => "intstr.IntOrString".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::String | Shape::Time | Shape::MicroTime => "string".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::Object(name) => super::lookup(name).map(go_name).unwrap_or_default(),
        Shape::List(of) => format!("[]{}", go_type(of)),
        Shape::Map(of) => format!("map[string]{}", go_type(of)),
    }
}

/// `v1.PodSpec`.
fn go_name(of: &Type) -> String {
    format!("{}.{}", of.package.rsplit('.').next().unwrap_or_default(), of.name.rsplit('.').next().unwrap_or_default())
}

fn value_of(field: &Field, value: Option<&Value>, path: &Path, errors: &mut Errors) {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        if field.required && !is_number(&field.shape) {
            errors.required(path, "");
        }
        return;
    };
    match value {
        Value::String(text) if text.is_empty() && field.required && field.default.is_none() => {
            errors.required(path, "");
        }
        Value::Array(elements) if elements.is_empty() && field.required => errors.required(path, ""),
        Value::String(text) if !text.is_empty() && !field.one_of.is_empty() => {
            if !field.one_of.contains(&text.as_str()) {
                errors.not_supported(path, text.as_str(), &field.one_of);
            }
        }
        _ => inside(&field.shape, value, path, errors),
    }
}

// A number that is left out is zero: whether that is possible says the kind.
fn is_number(shape: &Shape) -> bool {
    matches!(shape, Shape::Int32 | Shape::Int64 | Shape::IntOrString | Shape::Bool | Shape::Map(_) | Shape::Any)
}

fn inside(shape: &Shape, value: &Value, path: &Path, errors: &mut Errors) {
    match (shape, value) {
        (Shape::Object(name), Value::Object(fields)) if *name != "ObjectMeta" => {
            let Some(of) = super::lookup(name) else { return };
            for (name, field) in &of.fields {
                value_of(field, fields.get(*name), &path.field(name), errors);
            }
        }
        (Shape::List(of), Value::Array(elements)) => {
            for (at, element) in elements.iter().enumerate() {
                inside(of, element, &path.index(at), errors);
            }
        }
        (Shape::Map(of), Value::Object(entries)) => {
            for (key, entry) in entries {
                inside(of, entry, &path.key(key), errors);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::lookup;

    #[test]
    fn types_are_checked() {
        let check = |kind: &str, value: Value, wrong: &str| {
            assert_eq!(check(lookup(kind).expect(kind), &value).expect_err(kind), wrong);
        };
        check(
            "Deployment",
            json!({ "spec": { "replicas": "3" } }),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        );
        check(
            "Pod",
            json!({ "spec": { "containers": [{ "args": "x" }] } }),
            "json: cannot unmarshal string into Go struct field Container.spec.containers.args of type []string",
        );
        check(
            "ConfigMap",
            json!({ "data": { "a": 1 } }),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        );
        check(
            "Service",
            json!({ "spec": { "ports": [{ "port": 1.5 }] } }),
            "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.port of type int32",
        );
        check("Secret", json!({ "data": { "a": "x!" } }), "illegal base64 data at input byte 1");
        check(
            "Pod",
            json!({ "spec": { "overhead": { "cpu": "much" } } }),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        );
    }

    #[test]
    fn types_of_patched_objects_are_checked() {
        let check = |value: Value, wrong: &str| {
            assert_eq!(check_patched(lookup("Deployment").expect("a kind"), &value).expect_err("wrong"), wrong);
        };
        check(json!({ "metadata": { "labels": "x" } }), "cannot restore map from string");
        check(json!({ "metadata": "x" }), "cannot restore struct from: string");
        check(json!({ "metadata": { "finalizers": "x" } }), "cannot restore slice from string");
        check(json!({ "spec": { "replicas": "x" } }), "unrecognized type: int32");
    }

    #[test]
    fn required_and_possible_values() {
        let check = |kind: &str, value: Value, wrong: &str| {
            let mut errors = Errors::default();
            check_values(lookup(kind).expect(kind), &value, &mut errors);
            assert_eq!(errors.to_string(), wrong);
        };
        check("Pod", json!({ "spec": { "containers": [] } }), "spec.containers: Required value");
        check(
            "Pod",
            json!({ "spec": { "containers": [{ "image": "x" }], "restartPolicy": "Sometimes" } }),
            "[spec.containers[0].name: Required value, spec.restartPolicy: Unsupported value: \"Sometimes\": \
             supported values: \"Always\", \"Never\", \"OnFailure\"]",
        );
    }
}
