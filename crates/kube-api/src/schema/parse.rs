//! The language of `schemas/*.schema`. Line by line:
//!
//! ```text
//! # a comment
//! package io.k8s.api.core.v1                                  what the OpenAPI definitions below are named after
//!
//! Container                                | What it is.       a type
//!   name!   string                         | What it says.     a field; `!`: an object without it is not valid
//!   ports   [ContainerPort] by containerPort,protocol merge containerPort | ...
//! ```
//!
//! After the name of a type: `kind` gives it `apiVersion`, `kind` and `metadata`; `list ELEMENT` makes it the list of a kind;
//! `atomic` makes server-side apply see it as one value.
//!
//! After the name of a field comes its shape: `string int32 int64 number bool quantity time microtime intorstring bytes any`, a type's
//! name, a list `[SHAPE]` or a map `{SHAPE}`. Then in any order:
//!
//! | words | say |
//! |---|---|
//! | `(A B C)` | the values that it can have |
//! | `= VALUE` | its default, as JSON, or a plain word for text |
//! | `by K,K` | server-side apply tells the list's elements apart by these fields |
//! | `set` | server-side apply sees the list as a set |
//! | `atomic` | server-side apply sees the map or object as one value |
//! | `merge K` | a strategic merge patch merges the list by this field; without a field: as a set |
//! | `retain` | a strategic merge patch drops the keys that it does not retain |
//! | `replace` | a strategic merge patch replaces the object |

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Field, List, Patch, Shape, Type};

/// What is wrong with a line.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}: {text}")]
pub(super) struct Malformed {
    line: usize,
    problem: &'static str,
    text: String,
}

/// Reads the types of one file.
pub(super) fn types(source: &'static str) -> Result<Vec<Type>, Malformed> {
    let mut package = "";
    let mut types: Vec<Type> = Vec::new();
    for (number, line) in source.lines().enumerate() {
        let malformed = |problem| Malformed { line: number + 1, problem, text: line.to_owned() };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("package ") {
            package = name.trim();
            continue;
        }
        let (head, doc) = line.split_once('|').ok_or_else(|| malformed("no description after `|`"))?;
        let mut words = Words(head.split_whitespace().collect::<Vec<_>>().into_iter());
        if !line.starts_with(' ') {
            types.push(parse_type(&mut words, package, doc.trim()).map_err(malformed)?);
            continue;
        }
        let owner = types.last_mut().ok_or_else(|| malformed("a field without a type"))?;
        let (name, field) = parse_field(&mut words, doc.trim()).map_err(malformed)?;
        if owner.fields.insert(name, field).is_some() {
            return Err(malformed("a field twice"));
        }
    }
    Ok(types)
}

/// The words of a line that are still to be read.
struct Words(std::vec::IntoIter<&'static str>);

impl Words {
    fn next(&mut self) -> Option<&'static str> {
        self.0.next()
    }

    fn peek(&self) -> Option<&'static str> {
        self.0.as_slice().first().copied()
    }
}

fn parse_type(words: &mut Words, package: &'static str, doc: &'static str) -> Result<Type, &'static str> {
    let name = words.next().ok_or("no name")?;
    let mut built = Type { name, package, doc, fields: BTreeMap::new(), atomic: false };
    while let Some(word) = words.next() {
        match word {
            "atomic" => built.atomic = true,
            "kind" => built.fields.extend(typed("ObjectMeta", "Names, labels and times of the object.")),
            "list" => {
                let element = words.next().ok_or("a list of what")?;
                built.fields.extend(typed("ListMeta", "The version of the list, and how to go on."));
                let items = Field {
                    required: true,
                    ..plain(
                        Shape::List(Box::new(Shape::Object(element))),
                        "The objects, ordered by namespace and name.",
                    )
                };
                built.fields.insert("items", items);
            }
            _ => return Err("an unknown word"),
        }
    }
    Ok(built)
}

/// What every object and list of objects has.
fn typed(metadata: &'static str, doc: &'static str) -> [(&'static str, Field); 3] {
    [
        ("apiVersion", plain(Shape::String, "Group and version of the kind.")),
        ("kind", plain(Shape::String, "The kind of the object.")),
        ("metadata", plain(Shape::Object(metadata), doc)),
    ]
}

fn plain(shape: Shape, doc: &'static str) -> Field {
    Field {
        doc,
        shape,
        list: List::Atomic,
        atomic: false,
        patch: Patch::default(),
        required: false,
        default: None,
        one_of: Vec::new(),
    }
}

fn parse_field(words: &mut Words, doc: &'static str) -> Result<(&'static str, Field), &'static str> {
    let name = words.next().ok_or("no name")?;
    let (name, required) = name.strip_suffix('!').map_or((name, false), |name| (name, true));
    let mut field = Field { required, ..plain(parse_shape(words.next().ok_or("no shape")?)?, doc) };
    while let Some(word) = words.next() {
        match word {
            "by" => field.list = List::Map(words.next().ok_or("by what")?.split(',').collect()),
            "set" => field.list = List::Set,
            "atomic" => field.atomic = true,
            "merge" if field.shape.is_list_of_objects() => {
                field.patch.merge = Some(words.next().ok_or("merged by what")?);
            }
            "merge" => field.patch.merge_primitives = true,
            "retain" => field.patch.retain_keys = true,
            "replace" => field.patch.replace = true,
            "=" => field.default = Some(parse_default(words.next().ok_or("no default after `=`")?)),
            _ => match word.strip_prefix('(') {
                Some(first) => field.one_of = parse_one_of(first, words)?,
                None => return Err("an unknown word"),
            },
        }
    }
    Ok((name, field))
}

impl Shape {
    fn is_list_of_objects(&self) -> bool {
        matches!(self, Self::List(of) if matches!(**of, Self::Object(_)))
    }
}

fn parse_shape(word: &'static str) -> Result<Shape, &'static str> {
    let within = |open, close| word.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(of) = within('[', ']') {
        return Ok(Shape::List(Box::new(parse_shape(of)?)));
    }
    if let Some(of) = within('{', '}') {
        return Ok(Shape::Map(Box::new(parse_shape(of)?)));
    }
    Ok(match word {
        "string" => Shape::String,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "number" => Shape::Number,
        "bool" => Shape::Bool,
        "quantity" => Shape::Quantity,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "intorstring" => Shape::IntOrString,
        "bytes" => Shape::Bytes,
        "any" => Shape::Any,
        name if name.chars().any(char::is_uppercase) => Shape::Object(name),
        _ => return Err("an unknown shape"),
    })
}

fn parse_default(word: &'static str) -> Value {
    serde_json::from_str(word).unwrap_or_else(|_| Value::from(word))
}

/// The words up to the closing bracket.
fn parse_one_of(first: &'static str, words: &mut Words) -> Result<Vec<&'static str>, &'static str> {
    let mut values = Vec::new();
    let mut word = first;
    loop {
        match word.strip_suffix(')') {
            Some(last) => {
                values.push(last);
                return Ok(values);
            }
            None => values.push(word),
        }
        word = words.peek().ok_or("no closing bracket")?;
        words.next();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_read() {
        let source = "package io.k8s.api.x.v1\nThing atomic | A thing.\n  name! string (A B C) = B | Its name.\n  \
                      parts [Part] by name,kind merge name retain | Its parts.\n  tags {string} atomic | Marks.\n";
        let read = types(source).expect("well formed");
        let thing = &read[0];
        assert_eq!((thing.definition().as_str(), thing.doc, thing.atomic), ("io.k8s.api.x.v1.Thing", "A thing.", true));
        let name = &thing.fields["name"];
        assert_eq!((&name.one_of, &name.default, name.required), (&vec!["A", "B", "C"], &Some(json!("B")), true));
        let parts = &thing.fields["parts"];
        assert_eq!(parts.shape, Shape::List(Box::new(Shape::Object("Part"))));
        assert_eq!(parts.list, List::Map(vec!["name", "kind"]));
        assert_eq!(parts.patch, Patch { merge: Some("name"), retain_keys: true, ..Patch::default() });
        assert!(thing.fields["tags"].atomic);
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (source, problem) in [
            ("Thing", "line 1: no description after `|`: Thing"),
            ("  name string | x", "line 1: a field without a type:   name string | x"),
            ("T | x\n  name text | x", "line 2: an unknown shape:   name text | x"),
            ("T | x\n  a string (A | x", "line 2: no closing bracket:   a string (A | x"),
        ] {
            assert_eq!(types(source).expect_err(source).to_string(), problem);
        }
    }
}
