//! Pod templates as the controllers compare and number them, and the roundings of rolling updates.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::change::json;

/// The label that tells one template's pods from another's.
pub const HASH_LABEL: &str = "pod-template-hash";

/// Whether two templates make the same pods, whatever their `pod-template-hash`.
pub fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    canonical(a) == canonical(b)
}

/// A short name for a template; `collisions` gives another one when the first is taken.
pub fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    safe(fnv32(&[canonical(template).to_string().as_bytes(), &collisions.to_le_bytes()]))
}

/// FNV-1a of 32 bits (draft-eastlake-fnv).
pub fn fnv32(parts: &[&[u8]]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Without vowels and look-alikes, so that no name says anything.
fn safe(hash: u32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// Without the label of its own hash, and with nothing written as absent and as empty list alike.
fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = json(template);
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("creationTimestamp");
        meta.retain(|_, field| field.as_object().is_none_or(|map| !map.is_empty()));
    }
    if value.get("metadata").and_then(Value::as_object).is_some_and(|meta| meta.is_empty()) {
        value["metadata"].take();
    }
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, field| !field.is_null() && field.as_array().is_none_or(|list| !list.is_empty()));
            map.values_mut().for_each(prune);
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        _ => {}
    }
}

/// Which way a percentage is rounded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// To more.
    Up,
    /// To less.
    Down,
}

/// A number, or a percentage of `total`. What is malformed counts as 0.
pub fn scaled(value: Option<&IntOrString>, total: i32, round: Round) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => {
            let percent = text.strip_suffix('%').and_then(|number| number.parse::<i64>().ok()).unwrap_or(0);
            let product = percent * i64::from(total);
            let rounded = if round == Round::Up { (product + 99).div_euclid(100) } else { product.div_euclid(100) };
            i32::try_from(rounded).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let check = |text: &str, total, round, expected| {
            assert_eq!(scaled(Some(&IntOrString::String(text.into())), total, round), expected, "{text} of {total}");
        };
        check("25%", 3, Round::Up, 1);
        check("25%", 3, Round::Down, 0);
        check("100%", 7, Round::Down, 7);
        check("0%", 7, Round::Up, 0);
        check("34%", 100, Round::Up, 34);
        check("many", 100, Round::Up, 0);
    }

    #[test]
    fn a_hash_does_not_depend_on_itself_or_on_emptiness() {
        let template = |text: &str| serde_json::from_str::<PodTemplateSpec>(text).unwrap();
        let plain = template(r#"{"spec": {"containers": [{"name": "a"}]}}"#);
        let empty =
            template(r#"{"metadata": {"annotations": {}}, "spec": {"containers": [{"name": "a", "env": []}]}}"#);
        let other = template(r#"{"spec": {"containers": [{"name": "b"}]}}"#);
        assert!(same(&plain, &empty) && !same(&plain, &other));
        assert_eq!(hash(&plain, 0), hash(&empty, 0));
        assert_ne!(hash(&plain, 0), hash(&plain, 1));
    }
}
