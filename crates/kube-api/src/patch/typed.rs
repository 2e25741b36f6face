//! Walks over values with their types: which fields a value has, in which two differ, what two become when merged, and what is left when
//! fields are removed. How a list or an object is seen (as one value, as a set, by keys) comes from the schema.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::{
    PatchError,
    fields::{Element, FieldSet, Node},
    ordered,
};
use crate::schema::{Field, List, Shape, Type, lookup};

/// How a value is seen.
#[derive(Clone, Copy)]
pub enum View<'a> {
    /// As one.
    Leaf,
    /// By its fields.
    Object(&'a Type),
    /// By its keys.
    Map(&'a Shape),
    /// A list of different plain values.
    Set,
    /// A list of objects told apart by keys.
    Keyed(&'a Type, &'a [&'static str]),
}

impl<'a> View<'a> {
    fn of(shape: &'a Shape, list: &'a List) -> Self {
        match shape {
            Shape::Object(name) => match lookup(name) {
                Some(of) if !of.atomic => Self::Object(of),
                _ => Self::Leaf,
            },
            Shape::Map(of) => Self::Map(of),
            Shape::List(of) => match (list, of.object()) {
                (List::Set, _) => Self::Set,
                (List::Map(keys), Some(of)) => Self::Keyed(of, keys),
                _ => Self::Leaf,
            },
            _ => Self::Leaf,
        }
    }

    fn field(field: &'a Field) -> Self {
        if field.atomic { Self::Leaf } else { Self::of(&field.shape, &field.list) }
    }

    /// How a member of an object or a map is seen. What the type does not have is one value.
    fn member(self, name: &str) -> Self {
        match self {
            Self::Object(of) => of.fields.get(name).map_or(Self::Leaf, Self::field),
            Self::Map(of) => Self::of(of, &List::Atomic),
            _ => Self::Leaf,
        }
    }

    fn element(self) -> Self {
        match self {
            Self::Keyed(of, _) => Self::Object(of),
            _ => Self::Leaf,
        }
    }

    /// What a value is made of: none if it is seen as one, is empty, or is not what it should be.
    fn parts(self, value: Option<&Value>) -> Vec<(Element, &Value)> {
        match (self, value) {
            (Self::Object(_) | Self::Map(_), Some(Value::Object(members))) => {
                members.iter().map(|(name, value)| (Element::Field(name.clone()), value)).collect()
            }
            (Self::Set, Some(Value::Array(items))) => {
                items.iter().map(|item| (Element::Value(item.to_string()), item)).collect()
            }
            (Self::Keyed(of, keys), Some(Value::Array(items))) => {
                items.iter().map(|item| (key(of, keys, item), item)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn part(self, element: &Element) -> Self {
        match element {
            Element::Field(name) => self.member(name),
            _ => self.element(),
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Set | Self::Keyed(..))
    }
}

/// What tells an element apart. A key that it leaves out has its default.
fn key(of: &Type, keys: &[&str], item: &Value) -> Element {
    let value = |name: &str| {
        let default = || of.fields.get(name).and_then(|field| field.default.clone());
        item.get(name).cloned().or_else(default)
    };
    let keys: Map<String, Value> = keys.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect();
    Element::Key(Value::Object(keys).to_string())
}

/// The fields that a value has.
pub fn fields(view: View<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    for (element, part) in view.parts(Some(value)) {
        let below = fields(view.part(&element), part);
        // An element of a list is there apart from what it has.
        let itself = view.is_list() || below.is_empty();
        set.insert(element, Node { itself, below });
    }
    set
}

/// In which fields two values differ.
#[derive(Debug, Default)]
pub struct Differences {
    pub added: FieldSet,
    pub modified: FieldSet,
    pub removed: FieldSet,
}

/// In which fields two values differ. A map or an element that came or went is told itself too.
pub fn compare(view: View<'_>, old: Option<&Value>, new: Option<&Value>) -> Differences {
    let old: BTreeMap<_, _> = view.parts(old).into_iter().collect();
    let new: BTreeMap<_, _> = view.parts(new).into_iter().collect();
    let mut differences = Differences::default();
    let gone = old.keys().filter(|element| !new.contains_key(element));
    for element in new.keys().chain(gone) {
        let part = view.part(element);
        let (old, new) = (old.get(element).copied(), new.get(element).copied());
        if old == new {
            continue;
        }
        let leaf = part.parts(old).is_empty() && part.parts(new).is_empty();
        let below = if leaf { Differences::default() } else { compare(part, old, new) };
        let stands = leaf || view.is_list() || matches!(part, View::Map(_));
        let mut tell = |set: fn(&mut Differences) -> &mut FieldSet, itself, below| {
            set(&mut differences).insert(element.clone(), Node { itself, below });
        };
        tell(|all| &mut all.added, stands && old.is_none(), below.added);
        tell(|all| &mut all.removed, stands && new.is_none(), below.removed);
        tell(|all| &mut all.modified, leaf && old.is_some() && new.is_some(), below.modified);
    }
    differences
}

/// What a live value becomes when a configuration is merged into it: the configuration's fields win.
pub fn merge(view: View<'_>, live: Option<&Value>, config: &Value) -> Value {
    match (view, live, config) {
        (View::Object(_) | View::Map(_), _, Value::Object(config)) => {
            let mut merged = live.and_then(Value::as_object).cloned().unwrap_or_default();
            for (name, config) in config {
                match merge(view.member(name), merged.get(name), config) {
                    Value::Null => merged.remove(name),
                    value => merged.insert(name.clone(), value),
                };
            }
            Value::Object(merged)
        }
        (View::Set | View::Keyed(..), _, Value::Array(_)) => {
            let live = view.parts(live);
            let config = view.parts(Some(config));
            let names = |parts: &[(Element, &Value)]| parts.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            let order = ordered::applied(&names(&live), &names(&config));
            let live: HashMap<_, _> = live.into_iter().collect();
            let config: HashMap<_, _> = config.into_iter().collect();
            let merged = order.iter().filter_map(|element| match (live.get(element), config.get(element)) {
                (live, Some(config)) => Some(merge(view.element(), live.copied(), config)),
                (live, None) => live.map(|live| (*live).clone()),
            });
            Value::Array(merged.collect())
        }
        (_, _, config) => config.clone(),
    }
}

/// What a configuration says: a list or a map that is merged and has nothing in it says nothing.
pub fn said(view: View<'_>, config: &Value) -> Value {
    let empty = |view: View<'_>, part: &Value| match part {
        Value::Array(items) => items.is_empty() && view.is_list(),
        Value::Object(members) => members.is_empty() && matches!(view, View::Map(_)),
        _ => false,
    };
    match (view, config) {
        (View::Object(_) | View::Map(_), Value::Object(members)) => {
            let members = members.iter().filter(|(name, part)| !empty(view.member(name), part));
            Value::Object(members.map(|(name, part)| (name.clone(), said(view.member(name), part))).collect())
        }
        (View::Keyed(..), Value::Array(items)) => items.iter().map(|item| said(view.element(), item)).collect(),
        _ => config.clone(),
    }
}

/// What is left of a value without some fields; nothing if all of it goes.
pub fn remove(view: View<'_>, value: &Value, gone: &FieldSet) -> Option<Value> {
    if gone.is_empty() {
        return Some(value.clone());
    }
    let left = |element: &Element, part: &Value| match gone.get(element) {
        None => Some(part.clone()),
        Some(Node { itself: true, .. }) => None,
        Some(Node { below, .. }) => remove(view.part(element), part, below),
    };
    match (view, value) {
        (View::Object(_) | View::Map(_), Value::Object(members)) if !members.is_empty() => {
            let kept = members
                .iter()
                .filter_map(|(name, part)| left(&Element::Field(name.clone()), part).map(|part| (name.clone(), part)));
            let kept: Map<_, _> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (View::Set | View::Keyed(..), Value::Array(items)) if !items.is_empty() => {
            let parts = view.parts(Some(value));
            let kept: Vec<_> = parts.iter().filter_map(|(element, part)| left(element, part)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => Some(value.clone()),
    }
}

/// The set with the fields of objects that lead to others in it, though not keys of maps: whoever owns `.spec.replicas` owns `.spec`.
pub fn with_parents(view: View<'_>, set: &FieldSet) -> FieldSet {
    let mut result = FieldSet::default();
    for (element, node) in set.steps() {
        let named = matches!((view, element), (View::Object(of), Element::Field(name)) if of.fields.contains_key(name.as_str()));
        let below = with_parents(view.part(element), &node.below);
        result.insert(element.clone(), Node { itself: node.itself || named, below });
    }
    result
}

/// Checks what is to be applied: every field must be of the type, and elements of lists must be different.
pub fn check(view: View<'_>, value: &Value, path: &mut Vec<Element>) -> Result<(), PatchError> {
    let refuse = |path: &[Element], what: &str| {
        let path = super::path_text(&path.iter().collect::<Vec<_>>());
        Err(PatchError::Untyped(format!("{path}: {what}")))
    };
    match (view, value) {
        (_, Value::Null) | (View::Object(_) | View::Map(_), Value::Object(_)) => {}
        (View::Object(_) | View::Map(_), other) => return refuse(path, &format!("expected map, got {}", name(other))),
        (View::Set | View::Keyed(..), Value::Array(_)) => {}
        (View::Set | View::Keyed(..), other) => return refuse(path, &format!("expected list, got {}", name(other))),
        (View::Leaf, _) => return Ok(()),
    }
    let mut seen = std::collections::BTreeSet::new();
    for (element, part) in view.parts(Some(value)) {
        if let (View::Object(of), Element::Field(name)) = (view, &element)
            && !of.fields.contains_key(name.as_str())
        {
            path.push(element);
            return refuse(path, "field not declared in schema");
        }
        if let (View::Keyed(_, keys), Element::Key(found)) = (view, &element)
            && let Some(missing) = missing_key(keys, found)
        {
            let what = format!(
                "element {}: associative list with keys has an element that omits key field {missing:?} (and doesn't have default value)",
                seen.len()
            );
            return refuse(path, &what);
        }
        path.push(element.clone());
        if view.is_list() && !seen.insert(element.clone()) {
            let element = super::path_text(&[&element]);
            path.pop();
            return refuse(path, &format!("duplicate entries for key {element}"));
        }
        check(view.part(&element), part, path)?;
        path.pop();
    }
    Ok(())
}

fn missing_key(keys: &[&'static str], found: &str) -> Option<&'static str> {
    let found: Map<String, Value> = serde_json::from_str(found).unwrap_or_default();
    // One that has some of its keys can still be told apart.
    let first = keys.iter().find(|key| !found.contains_key(**key)).copied();
    first.filter(|_| found.is_empty())
}

fn name(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "boolean".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "list".to_owned(),
        Value::Object(_) => "map".to_owned(),
    }
}
