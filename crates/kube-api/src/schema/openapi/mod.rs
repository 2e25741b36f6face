//! The schema as OpenAPI documents: version 2 (one for all) and version 3 (an index, and one for each group and version). They are made when
//! asked for and kept by nobody: clients keep them by the hashes in the index.

mod operation;
mod property;
mod protobuf;
mod v2;
mod v3;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use self::{
    v2::{v2, v2_protobuf},
    v3::{v3, v3_index},
};
use super::{Shape, Type};
use crate::kind::{self, Kind};

/// The types that something is made of, by name: these and all that their fields name.
fn reachable(roots: impl Iterator<Item = &'static Type>) -> BTreeMap<&'static str, &'static Type> {
    let mut found = BTreeMap::new();
    let mut next: Vec<&'static Type> = roots.collect();
    while let Some(one) = next.pop() {
        if found.insert(one.name, one).is_none() {
            next.extend(one.fields.values().filter_map(|field| field.shape.object()));
        }
    }
    found
}

/// The types of a kind: its own, its list's, and what its requests and answers hold.
fn roots(kind: &'static Kind) -> impl Iterator<Item = &'static Type> {
    let list = super::lookup(&format!("{}List", kind.schema));
    let subresources = kind.subresources.iter().filter_map(|one| super::lookup(one.kind));
    std::iter::once(kind.schema())
        .chain(list)
        .chain(subresources)
        .chain(["Status", "DeleteOptions"].into_iter().filter_map(super::lookup))
}

/// The kinds that values of a type say they are of.
fn kinds_of(of: &Type) -> Vec<Value> {
    let told = |kind: &Kind, suffix: &str| json!({ "group": kind.group, "version": kind.version, "kind": format!("{}{suffix}", kind.kind) });
    let named = |suffix: &'static str| {
        let kinds = kind::ALL.iter().filter(move |kind| format!("{}{suffix}", kind.schema) == of.name);
        kinds.map(move |kind| told(kind, suffix))
    };
    named("").chain(named("List")).collect()
}

/// The definition of a type. `prefix` is where the document keeps definitions.
fn definition(of: &Type, prefix: &str) -> Value {
    let mut definition = json!({ "description": of.doc, "type": "object" });
    if !of.fields.is_empty() {
        let properties = of.fields.iter().map(|(name, field)| ((*name).to_owned(), property::property(field, prefix)));
        definition["properties"] = Value::Object(properties.collect());
    }
    let required: Vec<&str> = of.fields.iter().filter(|(_, field)| field.required).map(|(name, _)| *name).collect();
    if !required.is_empty() {
        definition["required"] = required.into();
    }
    if of.atomic {
        definition["x-kubernetes-map-type"] = "atomic".into();
    }
    let kinds = kinds_of(of);
    if !kinds.is_empty() {
        definition["x-kubernetes-group-version-kind"] = kinds.into();
    }
    definition
}

fn is_object(shape: &Shape) -> bool {
    matches!(shape, Shape::Object(_))
}
