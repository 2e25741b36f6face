//! The types of the objects: field names, shapes, list keys, defaults and short descriptions, read once from `schemas/*.schema`.
//! What applies to one kind only and cannot be said by a constant is in `kind`.

pub mod openapi;
pub mod quantity;

mod check;
mod default;
mod parse;
mod prune;

use std::{collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

pub use self::{
    check::{check, check_patched, check_values},
    default::fill_defaults,
    prune::prune,
};

/// A structured type, such as `PodSpec`.
#[derive(Debug, PartialEq)]
pub struct Type {
    /// Unique: `PodSpec`. Of two types with one name the younger is qualified by its group: `events.Event`.
    pub name: &'static str,
    /// The package of its OpenAPI definition, such as `io.k8s.api.core.v1`.
    pub package: &'static str,
    /// What it is, in a few words.
    pub doc: &'static str,
    /// By JSON name.
    pub fields: BTreeMap<&'static str, Field>,
    /// Server-side apply sees a value of it as one.
    pub atomic: bool,
}

/// A field of a [`Type`].
#[derive(Debug, PartialEq)]
pub struct Field {
    /// What it says, in a few words.
    pub doc: &'static str,
    /// What JSON it is.
    pub shape: Shape,
    /// How server-side apply sees it, if it is a list.
    pub list: List,
    /// Server-side apply sees it as one value though it is a map or an object.
    pub atomic: bool,
    /// How a strategic merge patch changes it.
    pub patch: Patch,
    /// An object without it is not valid.
    pub required: bool,
    /// What it is when it is left out.
    pub default: Option<Value>,
    /// The values that it can have; empty: any.
    pub one_of: Vec<&'static str>,
}

/// What JSON a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `100m`, `1Gi`, or a number.
    Quantity,
    /// RFC 3339 in whole seconds.
    Time,
    /// RFC 3339 in microseconds.
    MicroTime,
    /// A whole number of 32 bits, or text.
    IntOrString,
    /// Base64.
    Bytes,
    /// Any JSON.
    Any,
    /// A value of the [`Type`] with this name.
    Object(&'static str),
    /// A list of such values.
    List(Box<Shape>),
    /// An object of such values by free keys.
    Map(Box<Shape>),
}

/// How server-side apply sees a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum List {
    /// As one value.
    #[default]
    Atomic,
    /// As a set of plain values.
    Set,
    /// As objects told apart by these fields.
    Map(Vec<&'static str>),
}

/// How a strategic merge patch changes a field. Nothing set: objects and maps are merged, all else is replaced.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Patch {
    /// A list of objects is merged by this field.
    pub merge: Option<&'static str>,
    /// A list of plain values is merged as a set.
    pub merge_primitives: bool,
    /// Fields that the patch does not list in `$retainKeys` are dropped.
    pub retain_keys: bool,
    /// An object or a map is replaced as one.
    pub replace: bool,
}

impl Type {
    /// The name of its OpenAPI definition: `io.k8s.api.core.v1.PodSpec`.
    pub fn definition(&self) -> String {
        let name = self.name.rsplit('.').next().unwrap_or(self.name);
        format!("{}.{name}", self.package)
    }
}

impl Shape {
    /// The type of the object, or of the elements of the list or map, however deep.
    pub fn object(&self) -> Option<&'static Type> {
        match self {
            Self::Object(name) => lookup(name),
            Self::List(of) | Self::Map(of) => of.object(),
            _ => None,
        }
    }
}

/// The type with this name. That of a kind is named by `Kind::schema`.
pub fn lookup(name: &str) -> Option<&'static Type> {
    TYPES.get(name)
}

/// All types by name.
pub fn all() -> impl Iterator<Item = &'static Type> {
    TYPES.values()
}

const SOURCES: &[&str] = &[
    include_str!("../../schemas/apps.schema"),
    include_str!("../../schemas/authentication.schema"),
    include_str!("../../schemas/authorization.schema"),
    include_str!("../../schemas/autoscaling.schema"),
    include_str!("../../schemas/coordination.schema"),
    include_str!("../../schemas/core.schema"),
    include_str!("../../schemas/discovery.schema"),
    include_str!("../../schemas/event.schema"),
    include_str!("../../schemas/events.schema"),
    include_str!("../../schemas/meta.schema"),
    include_str!("../../schemas/networking.schema"),
    include_str!("../../schemas/node.schema"),
    include_str!("../../schemas/pod.schema"),
    include_str!("../../schemas/policy.schema"),
    include_str!("../../schemas/service.schema"),
    include_str!("../../schemas/volume.schema"),
];

// A malformed source is found by the tests: it is part of the program.
static TYPES: LazyLock<BTreeMap<&'static str, Type>> = LazyLock::new(|| {
    let read = |source| parse::types(source).unwrap_or_else(|error| panic!("a built-in schema is malformed: {error}"));
    SOURCES.iter().flat_map(|source| read(source)).map(|one| (one.name, one)).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_types_that_fields_name_are_there() {
        for owner in all() {
            for (name, field) in &owner.fields {
                if let Some(missing) = named(&field.shape).filter(|name| lookup(name).is_none()) {
                    panic!("{}.{name} is of the type {missing}, which is not there", owner.name);
                }
            }
        }
    }

    #[test]
    fn keys_of_lists_are_fields_of_their_elements() {
        for owner in all() {
            for (name, field) in &owner.fields {
                let applied = if let List::Map(keys) = &field.list { keys.as_slice() } else { &[] };
                for key in applied.iter().chain(&field.patch.merge) {
                    let element = field.shape.object().unwrap_or_else(|| panic!("{}.{name} has no type", owner.name));
                    assert!(element.fields.contains_key(key), "{}.{name} is keyed by {key}", owner.name);
                }
            }
        }
    }

    fn named(shape: &Shape) -> Option<&'static str> {
        match shape {
            Shape::Object(name) => Some(name),
            Shape::List(of) | Shape::Map(of) => named(of),
            _ => None,
        }
    }
}
