//! Strategic merge patch: as a merge patch, but lists whose elements can be told apart are merged too, and directives say what the
//! shape of JSON cannot: `$patch`, `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`.
//! Source: Kubernetes' strategic-merge-patch.md and preserve-order-in-strategic-merge-patch.md.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{PatchError, ordered, shallow};
use crate::schema::{Field, Shape, Type, lookup};

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// What the patch makes of an object of a type.
pub fn apply(of: &Type, object: &Value, patch: &Value) -> Result<Value, PatchError> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(PatchError::Malformed("a strategic merge patch must be an object".to_owned()));
    };
    shallow(Value::Object(members(Members::Typed(of), object.clone(), patch)?))
}

/// What is known of the members of an object.
#[derive(Clone, Copy)]
enum Members<'a> {
    Typed(&'a Type),
    Map(&'a Shape),
    Unknown,
}

impl<'a> Members<'a> {
    fn of(shape: Option<&'a Shape>) -> Self {
        match shape {
            Some(Shape::Object(name)) => lookup(name).map_or(Self::Unknown, Self::Typed),
            Some(Shape::Map(of)) => Self::Map(of),
            _ => Self::Unknown,
        }
    }

    fn field(self, name: &str) -> Option<&'a Field> {
        match self {
            Self::Typed(of) => of.fields.get(name),
            Self::Map(_) | Self::Unknown => None,
        }
    }

    fn shape(self, name: &str) -> Option<&'a Shape> {
        match self {
            Self::Map(of) => Some(of),
            _ => self.field(name).map(|field| &field.shape),
        }
    }
}

fn members(
    of: Members<'_>,
    mut object: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, PatchError> {
    match patch.get(PATCH).map(Value::as_str) {
        None | Some(Some("merge")) => {}
        Some(Some("replace")) => object.clear(),
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => return Err(unknown_directive(patch)),
    }
    retain(&mut object, patch)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE) {
            delete_plain(&mut object, list, value)?;
        } else if let Some(list) = name.strip_prefix(ORDER).filter(|list| !patch.contains_key(*list)) {
            // The list itself is not patched, only its order.
            if object.get(list).is_some_and(Value::is_array) {
                member(of, &mut object, list, (&Value::Array(Vec::new()), Some(value)))?;
            }
        } else if !name.starts_with('$') {
            let order = patch.get(&format!("{ORDER}{name}"));
            member(of, &mut object, name, (value, order))?;
        }
    }
    Ok(object)
}

fn member(
    of: Members<'_>,
    object: &mut Map<String, Value>,
    name: &str,
    (value, order): (&Value, Option<&Value>),
) -> Result<(), PatchError> {
    let how = of.field(name).map(|field| &field.patch);
    let merged = match value {
        Value::Null => {
            object.remove(name);
            return Ok(());
        }
        Value::Object(patch) => {
            let before = match object.remove(name) {
                Some(Value::Object(before)) if !how.is_some_and(|how| how.replace) => before,
                _ => Map::new(),
            };
            Value::Object(members(Members::of(of.shape(name)), before, patch)?)
        }
        Value::Array(patch) => {
            let before = match object.remove(name) {
                Some(Value::Array(before)) => before,
                _ => Vec::new(),
            };
            let element = match of.shape(name) {
                Some(Shape::List(element)) => Some(&**element),
                _ => None,
            };
            let merged = match how.map(|how| (how.merge, how.merge_primitives)) {
                Some((Some(key), _)) => keyed(Members::of(element), key, before, (patch, order))?,
                Some((None, true)) => plain(before, patch, order)?,
                _ => patch.iter().map(cleaned).collect::<Result<_, _>>()?,
            };
            Value::Array(merged)
        }
        plain => plain.clone(),
    };
    object.insert(name.to_owned(), merged);
    Ok(())
}

/// A value that meets nothing to be merged with: without directives and nulls.
fn cleaned(value: &Value) -> Result<Value, PatchError> {
    match value {
        Value::Object(patch) => members(Members::Unknown, Map::new(), patch).map(Value::Object),
        other => Ok(other.clone()),
    }
}

/// A list of objects that a key tells apart.
fn keyed(
    of: Members<'_>,
    key: &str,
    mut list: Vec<Value>,
    (patch, order): (&[Value], Option<&Value>),
) -> Result<Vec<Value>, PatchError> {
    let before = list.clone();
    let (mut merges, mut gone, mut replaced) = (Vec::new(), HashSet::new(), false);
    for element in patch {
        let element = element.as_object().ok_or_else(mixed_list)?;
        match element.get(PATCH).map(Value::as_str) {
            Some(Some("delete")) => drop(gone.insert(key_of(element, key)?)),
            // It says no more than that, and has no key.
            Some(Some("replace")) => replaced = true,
            Some(Some("merge")) | None => merges.push((key_of(element, key)?, element)),
            Some(_) => return Err(unknown_directive(element)),
        }
    }
    if replaced || list.is_empty() {
        // There is nothing to be merged with: elements with equal keys, as a port of two protocols has, stay apart.
        let element = |(_, element)| members(of, Map::new(), element).map(Value::Object);
        return merges.into_iter().map(element).collect();
    }
    list.retain(|one| !one.get(key).is_some_and(|value| gone.contains(value)));
    let mut places: HashMap<Value, usize> = HashMap::new();
    for (place, one) in list.iter().enumerate() {
        places.entry(one.get(key).cloned().unwrap_or_default()).or_insert(place);
    }
    for (value, element) in &merges {
        let place = *places.entry((*value).clone()).or_insert(list.len());
        let one = match list.get_mut(place).map(Value::take) {
            Some(Value::Object(one)) => one,
            _ => Map::new(),
        };
        let merged = Value::Object(members(of, one, element)?);
        match list.get_mut(place) {
            Some(one) => *one = merged,
            None => list.push(merged),
        }
    }
    let mut wanted: Vec<Value> = merges.into_iter().map(|(value, _)| value.clone()).collect();
    if let Some(order) = order {
        let order = order.as_array().ok_or_else(bad_order)?;
        let order: Option<Vec<_>> = order.iter().map(|one| one.get(key).cloned()).collect();
        wanted = in_order(wanted, order.ok_or_else(bad_order)?)?;
    }
    let keys = |list: &[Value]| list.iter().map(|one| one.get(key).cloned().unwrap_or_default()).collect::<Vec<_>>();
    Ok(arranged(&keys(&list), &wanted, &keys(&before), &list))
}

/// A list of plain values, merged as a set.
fn plain(before: Vec<Value>, patch: &[Value], order: Option<&Value>) -> Result<Vec<Value>, PatchError> {
    if patch.iter().any(Value::is_array) {
        return Err(PatchError::Rejected { detail: "lists of lists are not supported".to_owned() });
    }
    let mut merged: Vec<Value> = Vec::with_capacity(before.len() + patch.len());
    let mut seen = HashSet::new();
    merged.extend(before.iter().chain(patch).filter(|value| seen.insert((*value).clone())).cloned());
    let mut wanted = patch.to_vec();
    if let Some(order) = order {
        wanted = in_order(wanted, order.as_array().ok_or_else(bad_order)?.clone())?;
    }
    Ok(arranged(&merged, &wanted, &before, &merged))
}

fn arranged(keys: &[Value], wanted: &[Value], before: &[Value], list: &[Value]) -> Vec<Value> {
    ordered::strategic(keys, wanted, before).into_iter().map(|index| list[index].clone()).collect()
}

/// The order that is asked for, which the elements of the patch must follow.
fn in_order(patch: Vec<Value>, order: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    let mut rest = order.iter();
    if patch.iter().all(|key| rest.any(|one| one == key)) {
        return Ok(order);
    }
    let (patch, order) = (Value::Array(patch), Value::Array(order));
    Err(PatchError::Malformed(format!(
        "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
    )))
}

fn retain(object: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), PatchError> {
    let Some(keys) = patch.get(RETAIN) else { return Ok(()) };
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let keys: HashSet<_> = keys.as_array().ok_or_else(malformed)?.iter().filter_map(Value::as_str).collect();
    let retained = |name: &str| keys.contains(name);
    if patch.iter().any(|(name, value)| !name.starts_with('$') && !value.is_null() && !retained(name)) {
        return Err(malformed());
    }
    object.retain(|name, _| retained(name));
    Ok(())
}

fn delete_plain(object: &mut Map<String, Value>, list: &str, gone: &Value) -> Result<(), PatchError> {
    let malformed = || PatchError::Malformed("invalid patch format of primitive list".to_owned());
    let gone: HashSet<_> = gone.as_array().ok_or_else(malformed)?.iter().collect();
    if let Some(Value::Array(list)) = object.get_mut(list) {
        list.retain(|value| !gone.contains(value));
    }
    Ok(())
}

fn key_of<'a>(element: &'a Map<String, Value>, key: &str) -> Result<&'a Value, PatchError> {
    let missing = || {
        let element = Value::Object(element.clone());
        PatchError::Malformed(format!("map: {element} does not contain declared merge key: {key}"))
    };
    element.get(key).ok_or_else(missing)
}

fn unknown_directive(patch: &Map<String, Value>) -> PatchError {
    PatchError::Rejected { detail: format!("unknown patch type found in: {}", Value::Object(patch.clone())) }
}

fn mixed_list() -> PatchError {
    PatchError::Malformed("list element types are not identical".to_owned())
}

fn bad_order() -> PatchError {
    PatchError::Malformed("invalid patch format of setElementOrder list".to_owned())
}
