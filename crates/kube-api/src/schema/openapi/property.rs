//! Fields as properties of definitions.

use serde_json::{Value, json};

use super::{
    super::{Field, List, Shape},
    is_object,
};

/// A field. In version 3 (`prefix` is `#/components/schemas/`) what is beside a reference needs `allOf`.
pub fn property(field: &Field, prefix: &str) -> Value {
    let mut property = shape(&field.shape, prefix);
    if is_object(&field.shape) && prefix.starts_with("#/components") {
        property = json!({ "allOf": [property] });
    }
    property["description"] = field.doc.into();
    if let Some(default) = &field.default {
        property["default"] = default.clone();
    }
    if !field.one_of.is_empty() {
        property["enum"] = field.one_of.clone().into();
    }
    if matches!(field.shape, Shape::List(_)) {
        match &field.list {
            List::Atomic => property["x-kubernetes-list-type"] = "atomic".into(),
            List::Set => property["x-kubernetes-list-type"] = "set".into(),
            List::Map(keys) => {
                property["x-kubernetes-list-type"] = "map".into();
                property["x-kubernetes-list-map-keys"] = keys.clone().into();
            }
        }
    }
    if field.atomic {
        property["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(key) = field.patch.merge {
        property["x-kubernetes-patch-merge-key"] = key.into();
    }
    let merged = field.patch.merge.is_some() || field.patch.merge_primitives;
    let strategy = [(merged, "merge"), (field.patch.retain_keys, "retainKeys"), (field.patch.replace, "replace")];
    let strategy: Vec<&str> = strategy.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    if !strategy.is_empty() {
        property["x-kubernetes-patch-strategy"] = strategy.join(",").into();
    }
    property
}

fn shape(of: &Shape, prefix: &str) -> Value {
    let named = |name: &str| super::super::lookup(name).map(super::Type::definition).unwrap_or_default();
    // The definitions of what is not an object itself.
    let scalar = |name: &str| json!({ "$ref": format!("{prefix}io.k8s.apimachinery.pkg.{name}") });
    match of {
        Shape::String => json!({ "type": "string" }),
        Shape::Int32 => json!({ "type": "integer", "format": "int32" }),
        Shape::Int64 => json!({ "type": "integer", "format": "int64" }),
        Shape::Number => json!({ "type": "number", "format": "double" }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Bytes => json!({ "type": "string", "format": "byte" }),
        Shape::Any => json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true }),
        Shape::Quantity => scalar("api.resource.Quantity"),
        Shape::Time => scalar("apis.meta.v1.Time"),
        Shape::MicroTime => scalar("apis.meta.v1.MicroTime"),
        Shape::IntOrString => scalar("util.intstr.IntOrString"),
        Shape::Object(name) => json!({ "$ref": format!("{prefix}{}", named(name)) }),
        Shape::List(of) => json!({ "type": "array", "items": shape(of, prefix) }),
        Shape::Map(of) => json!({ "type": "object", "additionalProperties": shape(of, prefix) }),
    }
}

/// The definitions of what is not an object itself. Version 2 has no `oneOf`.
pub fn scalars(one_of: bool) -> [(String, Value); 4] {
    let text_or = |number: &str, text: Value| {
        if one_of { json!({ "oneOf": [{ "type": "string" }, { "type": number }] }) } else { text }
    };
    let mut quantity = text_or("number", json!({ "type": "string" }));
    quantity["description"] = "An amount: 100m, 1.5Gi, 2e3.".into();
    let mut int_or_string = text_or("integer", json!({ "type": "string" }));
    int_or_string["format"] = "int-or-string".into();
    int_or_string["description"] = "A whole number, or text.".into();
    let time = |doc: &str| json!({ "type": "string", "format": "date-time", "description": doc });
    [
        ("io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(), quantity),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.Time".to_owned(), time("RFC 3339 in whole seconds.")),
        ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime".to_owned(), time("RFC 3339 in microseconds.")),
        ("io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(), int_or_string),
    ]
}
