//! How objects are kept: JSON whose first member is `metadata`, without a resource version, since that is known only once it is
//! written. The version is put in when an object is served, by copying, not by reading.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use store::objects::Stored;

use super::Look;

const HEAD: &str = "{\"metadata\":{";
/// What a version, and what is around an object in a list, take at most, bytes.
const ROOM: usize = 64;

/// An object as it is kept.
pub fn encode(object: &Value) -> Bytes {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(HEAD.as_bytes());
    let metadata = object.map("metadata");
    let members = metadata.into_iter().flatten().filter(|(name, _)| *name != "resourceVersion");
    write_members(&mut text, members);
    text.push(b'}');
    let others = object.as_object().into_iter().flatten().filter(|(name, _)| *name != "metadata");
    for member in others {
        text.push(b',');
        write_members(&mut text, [member].into_iter());
    }
    text.push(b'}');
    text.into()
}

fn write_members<'v>(to: &mut Vec<u8>, members: impl Iterator<Item = (&'v String, &'v Value)>) {
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            to.push(b',');
        }
        // A vector takes everything, and values have no keys but text.
        let _ = serde_json::to_writer(&mut *to, name);
        to.push(b':');
        let _ = serde_json::to_writer(&mut *to, value);
    }
}

/// A kept object as clients get it.
pub fn serve(stored: &Stored) -> Bytes {
    let mut text = Vec::with_capacity(stored.value.len() + ROOM);
    serve_to(&mut text, stored);
    text.into()
}

/// The same, at the end of a text.
pub fn serve_to(text: &mut Vec<u8>, stored: &Stored) {
    let Some(rest) = stored.value.strip_prefix(HEAD.as_bytes()) else {
        return text.extend_from_slice(&stored.value);
    };
    text.extend_from_slice(HEAD.as_bytes());
    version(text, stored, rest);
    text.extend_from_slice(rest);
}

/// Kind, version and metadata of a kept object (`PartialObjectMetadata`), at the end of a text.
pub fn partial_to(text: &mut Vec<u8>, stored: &Stored) {
    text.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{");
    let rest = stored.value.strip_prefix(HEAD.as_bytes()).unwrap_or(b"}");
    version(text, stored, rest);
    text.extend_from_slice(&rest[..members_end(rest)]);
    text.extend_from_slice(b"}}");
}

/// The version of a kept object as the first member of its metadata, whose text goes on with `rest`.
fn version(text: &mut Vec<u8>, stored: &Stored, rest: &[u8]) {
    let comma = if rest.starts_with(b"}") { "" } else { "," };
    text.extend_from_slice(format!("\"resourceVersion\":\"{}\"{comma}", stored.modified).as_bytes());
}

/// A list of kept objects: all that `head` has, and under `name` what is written of each.
pub fn list(head: &Value, name: &str, objects: &[Stored], write: impl Fn(&mut Vec<u8>, &Stored)) -> Bytes {
    let head = head.to_string();
    let size: usize = objects.iter().map(|stored| stored.value.len() + ROOM).sum();
    let mut text = Vec::with_capacity(head.len() + ROOM + size);
    text.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
    text.extend_from_slice(format!(",\"{name}\":[").as_bytes());
    for (index, stored) in objects.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write(&mut text, stored);
    }
    text.extend_from_slice(b"]}");
    text.into()
}

/// A kept object, read. One that cannot be read is `null`: whoever wrote it was not this server.
pub fn decode(stored: &Stored) -> Value {
    read(&stored.value, stored)
}

/// A kept object, read without `managedFields`: they are half of it, and only who writes it looks at them.
pub fn glance(stored: &Stored) -> Value {
    read(&bare(&stored.value), stored)
}

fn read(text: &[u8], stored: &Stored) -> Value {
    let mut object: Value = serde_json::from_slice(text).unwrap_or_default();
    object.put("metadata.resourceVersion", stored.modified.0.to_string());
    object
}

/// The text of a kept object without `managedFields`. What is of another form is left as it is.
pub fn bare(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(metadata) = text.strip_prefix(HEAD.as_bytes()) else { return text.into() };
    let first = HEAD.len();
    let mut at = 0;
    while let Some(name) = metadata[at..].strip_prefix(b"\"") {
        let end = at + value_end(&metadata[at..]);
        if !name.starts_with(b"managedFields\":") {
            at = end + usize::from(metadata.get(end) == Some(&b','));
            continue;
        }
        // With the comma after it, or the one before it.
        let (from, to) = if metadata.get(end) == Some(&b',') { (at, end + 1) } else { (at.saturating_sub(1), end) };
        return [&text[..first + from], &text[first + to..]].concat().into();
    }
    text.into()
}

/// Where the members of an object end whose text goes on here.
fn members_end(text: &[u8]) -> usize {
    let mut end = value_end(text);
    while text.get(end) == Some(&b',') {
        end += 1 + value_end(&text[end + 1..]);
    }
    end
}

/// Where a member, or the rest of an object, ends: at the comma or the bracket that is not within it.
fn value_end(text: &[u8]) -> usize {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::objects::Revision;

    use super::*;
    use crate::object::meta;

    #[test]
    fn a_version_is_put_in_when_it_is_served() {
        let check = |object: Value| {
            let value = encode(&object);
            let stored = Stored { created: Revision(3), modified: Revision(7), value };
            let mut expected = object;
            expected.put("metadata.resourceVersion", "7");
            assert_eq!(serde_json::from_slice::<Value>(&serve(&stored)).expect("JSON"), expected);
            assert_eq!(decode(&stored), expected);
            let mut partial = Vec::new();
            partial_to(&mut partial, &stored);
            assert_eq!(serde_json::from_slice::<Value>(&partial).expect("JSON"), meta::partial(&expected));
            expected.take_at("metadata.managedFields");
            assert_eq!(glance(&stored), expected);
            expected.take_at("metadata.resourceVersion");
            assert_eq!(serde_json::from_slice::<Value>(&bare(&stored.value)).expect("JSON"), expected);
        };
        check(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "labels": { "a": "\"{" } } }));
        check(json!({ "metadata": { "resourceVersion": "3", "uid": "x" }, "data": { "metadata": "{" } }));
        check(json!({ "kind": "Pod", "metadata": {} }));
        let owners = json!([{ "fieldsV1": { "f:spec": { "k:{\"name\":\"}\"}": {} } } }]);
        check(json!({ "metadata": { "a": "\\", "managedFields": owners, "name": "x" }, "managedFields": 1 }));
        check(json!({ "metadata": { "a": [1, 2], "managedFields": owners } }));
        check(json!({ "metadata": { "managedFields": [] }, "spec": {} }));
    }
}
