//! Objects in Kubernetes' protobuf, read: kubectl's typed verbs (`create deployment`) send nothing else. Answers are JSON always.
//!
//! The envelope is `k8s\0` and a `runtime.Unknown`; the message inside is read by the schema and by the field numbers of
//! `schemas/protobuf.numbers`, whose lines are `TYPE: NUMBER FIELD, ...`. A `?` after a field says that its zero was said on purpose (Go has a
//! pointer there); other zeros are Go's way to say nothing. `*TYPE` is a message whose fields are the object's own.
//! The wire format is that of the page "Encoding" of protobuf.dev.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use crate::{
    kind,
    object::meta,
    schema::{self, Shape, Type},
};

/// What every object begins with.
const MAGIC: &[u8] = b"k8s\0";
/// How deep messages may be within messages.
const DEPTH_MAX: usize = 64;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It ends in the middle.
    #[error("it ends in the middle of a field")]
    Short,
    /// It is not Kubernetes' envelope.
    #[error("it does not begin as an object of Kubernetes does")]
    Envelope,
    /// Nobody knows the kind.
    #[error("it is of a kind that is not served")]
    Kind,
    /// A field is of another type than it should be.
    #[error("a field is not of the type that it should be")]
    Field,
    /// There are too many messages within messages.
    #[error("it is nested too deep")]
    Deep,
}

/// Reads an object.
pub fn object(bytes: &[u8]) -> Result<Value, Wrong> {
    let envelope = fields(bytes.strip_prefix(MAGIC).ok_or(Wrong::Envelope)?)?;
    let part = |number| match envelope.iter().rev().find(|(n, _)| *n == number) {
        Some((_, Wire::Bytes(bytes))) => Ok(*bytes),
        _ => Err(Wrong::Envelope),
    };
    let mut names = [String::new(), String::new()];
    for (number, wire) in fields(part(1)?)? {
        if let (1 | 2, Wire::Bytes(text)) = (number, wire) {
            names[number as usize - 1] = String::from_utf8_lossy(text).into_owned();
        }
    }
    let [api_version, name] = names;
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let of = match kind::by_kind(group, &name) {
        Some(kind) => kind.schema(),
        None => schema::lookup(&name).ok_or(Wrong::Kind)?,
    };
    let mut object = message(of, part(2)?, 0)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), name.into());
    Ok(Value::Object(object))
}

/// A field as it stands in a message.
#[derive(Clone, Copy, Debug)]
enum Wire<'b> {
    Varint(u64),
    Bytes(&'b [u8]),
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u32, Wire<'_>)>, Wrong> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Wrong::Field)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut bytes)?),
            1 => Wire::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Wrong::Short)?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => Wire::Bytes(take(&mut bytes, 4)?),
            _ => return Err(Wrong::Field),
        };
        fields.push((number, wire));
    }
    Ok(fields)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Wrong> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Wrong::Short)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Wrong::Field)
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Result<&'b [u8], Wrong> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Wrong::Short)?;
    *bytes = rest;
    Ok(taken)
}

/// Which fields a message has.
struct Numbered {
    name: &'static str,
    /// Whether its zero is said on purpose.
    zero: bool,
    /// Whether it is a message whose fields are the object's own; then `name` is its type.
    inline: bool,
}

// A malformed table is found by the tests: it is part of the program.
static NUMBERS: LazyLock<BTreeMap<&'static str, BTreeMap<u32, Numbered>>> = LazyLock::new(|| {
    let lines = include_str!("../schemas/protobuf.numbers").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(of, fields)| (of, fields.split(", ").filter_map(numbered).collect()))
        .collect()
});

fn numbered(text: &'static str) -> Option<(u32, Numbered)> {
    let (number, name) = text.split_once(' ')?;
    let inline = name.starts_with('*');
    let zero = name.ends_with('?');
    Some((number.parse().ok()?, Numbered { name: name.trim_start_matches('*').trim_end_matches('?'), zero, inline }))
}

fn message(of: &'static Type, bytes: &[u8], depth: usize) -> Result<Map<String, Value>, Wrong> {
    let mut object = Map::new();
    read(of, of.name, bytes, depth, &mut object)?;
    Ok(object)
}

/// Reads the fields of a message, numbered as in `numbers_of`, into an object of the type `of`.
fn read(
    of: &'static Type,
    numbers_of: &str,
    bytes: &[u8],
    depth: usize,
    to: &mut Map<String, Value>,
) -> Result<(), Wrong> {
    if depth > DEPTH_MAX {
        return Err(Wrong::Deep);
    }
    // What has no numbers has no fields that a client sends.
    let Some(numbers) = NUMBERS.get(numbers_of) else { return Ok(()) };
    for (number, wire) in fields(bytes)? {
        let Some(field) = numbers.get(&number) else { continue };
        if field.inline {
            let Wire::Bytes(bytes) = wire else { return Err(Wrong::Field) };
            read(of, field.name, bytes, depth + 1, to)?;
            continue;
        }
        let Some(known) = of.fields.get(field.name) else { continue };
        match &known.shape {
            Shape::List(element) => {
                let list = to.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.extend(value(element, wire, depth)?);
                }
            }
            Shape::Map(element) => {
                let map = to.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    let (key, value) = entry(element, wire, depth)?;
                    map.insert(key, value);
                }
            }
            shape => {
                let read = value(shape, wire, depth)?.filter(|value| field.zero || !is_zero(value));
                if let Some(read) = read {
                    to.insert(field.name.to_owned(), read);
                }
            }
        }
    }
    Ok(())
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(said) => !said,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn value(shape: &Shape, wire: Wire<'_>, depth: usize) -> Result<Option<Value>, Wrong> {
    Ok(Some(match (shape, wire) {
        (Shape::Bool, Wire::Varint(number)) => Value::Bool(number != 0),
        (Shape::Int32 | Shape::Int64 | Shape::Number, Wire::Varint(number)) => {
            Value::Number(number.cast_signed().into())
        }
        (Shape::Number, Wire::Bytes(bytes)) => {
            let number = bytes.try_into().map(f64::from_le_bytes).map_err(|_| Wrong::Field)?;
            Value::Number(Number::from_f64(number).ok_or(Wrong::Field)?)
        }
        (Shape::String, Wire::Bytes(bytes)) => text(bytes)?,
        (Shape::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Shape::Quantity, Wire::Bytes(bytes)) => match fields(bytes)?.first() {
            Some((1, Wire::Bytes(quantity))) => text(quantity)?,
            _ => return Ok(None),
        },
        (Shape::Time | Shape::MicroTime, Wire::Bytes(bytes)) => match time(shape, bytes)? {
            Some(time) => time,
            None => return Ok(None),
        },
        (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Shape::Any, Wire::Bytes(bytes)) => match fields(bytes)?.first() {
            Some((1, Wire::Bytes(raw))) => serde_json::from_slice(raw).map_err(|_| Wrong::Field)?,
            _ => return Ok(None),
        },
        (Shape::Object(name), Wire::Bytes(bytes)) => {
            let of = schema::lookup(name).ok_or(Wrong::Kind)?;
            Value::Object(message(of, bytes, depth + 1)?)
        }
        _ => return Err(Wrong::Field),
    }))
}

fn text(bytes: &[u8]) -> Result<Value, Wrong> {
    Ok(Value::String(String::from_utf8(bytes.to_vec()).map_err(|_| Wrong::Field)?))
}

/// Seconds and nanoseconds since 1970; without either it is no time.
fn time(shape: &Shape, bytes: &[u8]) -> Result<Option<Value>, Wrong> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    let fields = fields(bytes)?;
    for (number, wire) in &fields {
        match (number, wire) {
            (1, Wire::Varint(number)) => seconds = number.cast_signed(),
            (2, Wire::Varint(number)) => nanoseconds = i32::try_from(number.cast_signed()).map_err(|_| Wrong::Field)?,
            _ => {}
        }
    }
    // Go's zero time lies in year 1.
    if fields.is_empty() || seconds == -62_135_596_800 {
        return Ok(None);
    }
    let at = Timestamp::new(seconds, nanoseconds).map_err(|_| Wrong::Field)?;
    Ok(Some(if *shape == Shape::Time { meta::time(at) } else { meta::micro_time(at) }.into()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Wrong> {
    let (mut is_text, mut number, mut said) = (false, 0, Value::String(String::new()));
    for (field, wire) in fields(bytes)? {
        match (field, wire) {
            (1, Wire::Varint(kind)) => is_text = kind == 1,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => said = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { said } else { number.into() })
}

/// An entry of a map is a message of its own: 1 is the key, 2 the value.
fn entry(element: &Shape, wire: Wire<'_>, depth: usize) -> Result<(String, Value), Wrong> {
    let Wire::Bytes(bytes) = wire else { return Err(Wrong::Field) };
    let (mut key, mut read) = (String::new(), None);
    for (number, wire) in fields(bytes)? {
        match (number, wire, element) {
            (1, Wire::Bytes(bytes), _) => key = String::from_utf8(bytes.to_vec()).map_err(|_| Wrong::Field)?,
            (2, Wire::Bytes(bytes), Shape::List(of)) => {
                let items: Result<Vec<_>, _> =
                    fields(bytes)?.into_iter().map(|(_, wire)| value(of, wire, depth + 1)).collect();
                read = Some(Value::Array(items?.into_iter().flatten().collect()));
            }
            (2, wire, _) => read = value(element, wire, depth + 1)?,
            _ => {}
        }
    }
    let empty = || {
        if *element == Shape::Bytes || *element == Shape::String { Value::String(String::new()) } else { Value::Null }
    };
    Ok((key, read.unwrap_or_else(empty)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A field of bytes.
    fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).expect("short")];
        field.extend_from_slice(bytes);
        field
    }

    fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let names = [part(1, api_version.as_bytes()), part(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), part(1, &names), part(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata =
            [part(1, b"a"), part(3, b"shop"), part(8, b""), part(11, &[part(1, b"k"), part(2, b"v")].concat())]
                .concat();
        let entry = [part(1, b"x"), part(2, b"y")].concat();
        let raw = [part(1, &metadata), part(2, &entry), vec![4 << 3, 0]].concat();
        let expected = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "shop", "labels": { "k": "v" } },
            "data": { "x": "y" }, "immutable": false,
        });
        assert_eq!(object(&envelope("v1", "ConfigMap", &raw)), Ok(expected));
    }

    #[test]
    fn what_is_broken_is_refused() {
        let whole = envelope("v1", "ConfigMap", &part(1, &part(1, b"a")));
        assert_eq!(object(b"{}"), Err(Wrong::Envelope));
        assert_eq!(object(&envelope("v1", "Unheard", b"")), Err(Wrong::Kind));
        for end in 0..whole.len() {
            assert!(object(&whole[..end]).is_err(), "{end}");
        }
        assert_eq!(object(&envelope("v1", "ConfigMap", &[1 << 3, 7])), Err(Wrong::Field));
    }

    #[test]
    fn numbered_fields_are_known() {
        for (of, numbers) in NUMBERS.iter() {
            let Some(known) = schema::lookup(of) else { continue };
            for field in numbers.values().filter(|field| !field.inline) {
                assert!(known.fields.contains_key(field.name), "{of} has no field {}", field.name);
            }
        }
    }
}
