//! The document of version 2 as protobuf, the only form in which kubectl takes it: messages of gnostic's `OpenAPIv2.proto`, whose field
//! numbers these are. What has no type of its own there (defaults, extensions) is text that YAML readers understand.

use serde_json::{Map, Value};

use crate::object::Look;

/// The document, encoded.
pub fn document(document: &Value) -> Vec<u8> {
    let mut message = Message::default();
    message.text(1, document.text("swagger"));
    let mut info = Message::default();
    info.text(1, document.text("info.title"));
    info.text(2, document.text("info.version"));
    message.part(2, &info);
    message.part(8, &named(2, document.map("paths"), path));
    message.part(9, &named(1, document.map("definitions"), schema));
    message.0
}

fn path(path: &Value) -> Message {
    let mut message = Message::default();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(of) = path.get(method) {
            message.part(number, &operation(of));
        }
    }
    message
}

fn operation(of: &Value) -> Message {
    let mut message = Message::default();
    message.texts(6, of.list("produces"));
    message.texts(7, of.list("consumes"));
    for one in of.list("parameters") {
        message.part(8, &Message::of(1, &parameter(one)));
    }
    message.part(
        9,
        &named(1, of.map("responses"), |answer| {
            let mut message = Message::default();
            message.text(1, answer.text("description"));
            if let Some(of) = answer.get("schema") {
                message.part(2, &Message::of(1, &schema(of)));
            }
            Message::of(1, &message)
        }),
    );
    message.texts(10, of.list("schemes"));
    message.extensions(13, of);
    message
}

fn parameter(of: &Value) -> Message {
    let mut message = Message::default();
    let place = of.text("in");
    if place == "body" {
        message.text(2, of.text("name"));
        message.text(3, place);
        message.flag(4, of.is("required"));
        if let Some(of) = of.get("schema") {
            message.part(5, &schema(of));
        }
        return Message::of(1, &message);
    }
    message.flag(1, of.is("required"));
    message.text(2, place);
    message.text(3, of.text("description"));
    message.text(4, of.text("name"));
    let (kind, number) = if place == "path" { (5, 4) } else { (6, 3) };
    message.text(kind, of.text("type"));
    Message::of(2, &Message::of(number, &message))
}

fn schema(of: &Value) -> Message {
    let mut message = Message::default();
    for (number, field) in [(1, "$ref"), (2, "format"), (4, "description")] {
        message.text(number, of.text(field));
    }
    if let Some(default) = of.get("default") {
        message.any(5, default);
    }
    message.texts(19, of.list("required"));
    for one in of.list("enum") {
        message.any(20, one);
    }
    if let Some(of) = of.get("additionalProperties") {
        message.part(21, &Message::of(1, &schema(of)));
    }
    if let Some(kind) = of.get("type") {
        let mut kinds = Message::default();
        kinds.texts(1, std::slice::from_ref(kind));
        message.part(22, &kinds);
    }
    if let Some(of) = of.get("items") {
        message.part(23, &Message::of(1, &schema(of)));
    }
    for one in of.list("allOf") {
        message.part(24, &schema(one));
    }
    if let Some(properties) = of.map("properties") {
        message.part(25, &named(1, Some(properties), schema));
    }
    message.extensions(31, of);
    message
}

/// A map: each member is a message of its name and its value.
fn named(number: u32, members: Option<&Map<String, Value>>, encode: fn(&Value) -> Message) -> Message {
    let mut all = Message::default();
    for (name, value) in members.into_iter().flatten() {
        let mut member = Message::default();
        member.text(1, name);
        member.part(2, &encode(value));
        all.part(number, &member);
    }
    all
}

/// A message as it is written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// A message of one part.
    fn of(number: u32, part: &Self) -> Self {
        let mut message = Self::default();
        message.part(number, part);
        message
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number << 3 | 2));
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn part(&mut self, number: u32, part: &Self) {
        self.bytes(number, &part.0);
    }

    fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u32, texts: &[Value]) {
        texts.iter().filter_map(Value::as_str).for_each(|text| self.text(number, text));
    }

    fn flag(&mut self, number: u32, is: bool) {
        if is {
            self.varint(u64::from(number << 3));
            self.varint(1);
        }
    }

    /// A value of any type, as text.
    fn any(&mut self, number: u32, value: &Value) {
        let mut any = Self::default();
        any.text(2, &value.to_string());
        self.part(number, &any);
    }

    fn extensions(&mut self, number: u32, of: &Value) {
        for (name, value) in of.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
            let mut extension = Self::default();
            extension.text(1, name);
            extension.any(2, value);
            self.part(number, &extension);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_are_those_of_the_specification() {
        let of = json!({ "type": "object", "x-a": [1], "properties": { "b": { "$ref": "#/c" } } });
        let expected = [
            // 22: the type.
            b"\xb2\x01\x08\x0a\x06object".as_slice(),
            // 25: the properties, one of which is `b`.
            b"\xca\x01\x0c\x0a\x0a\x0a\x01b\x12\x05\x0a\x03#/c",
            // 31: the extensions.
            b"\xfa\x01\x0c\x0a\x03x-a\x12\x05\x12\x03[1]",
        ];
        assert_eq!(schema(&of).0, expected.concat());
        let length = document(&json!({ "swagger": "2.0", "info": {}, "paths": {}, "definitions": {} })).len();
        assert_eq!(length, 5 + 2 + 2 + 2);
    }
}
