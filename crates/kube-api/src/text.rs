//! JSON and YAML as clients write them, read into values. A key that stands twice is told, and its last value counts.

use std::fmt::{self, Write};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// A text, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// What it says.
    pub value: Value,
    /// What it says twice, as Kubernetes tells of it: `duplicate field "spec.replicas"`.
    pub twice: Vec<String>,
}

/// Reads JSON.
pub fn json(text: &[u8]) -> Result<Read, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let mut seen = Seen::default();
    let value = Node::<String>::of(&mut seen).deserialize(&mut reader)?;
    reader.end()?;
    let twice = seen.twice.iter().map(|key| format!("duplicate field {:?}", key.path)).collect();
    Ok(Read { value, twice })
}

/// Reads YAML, as far as JSON can say the same.
pub fn yaml(text: &str) -> Result<Read, serde_saphyr::Error> {
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::PassThrough };
    let mut seen = Seen::default();
    let value = serde_saphyr::with_deserializer_from_str_with_options(text, options, |reader| {
        Node::<Spanned<String>>::of(&mut seen).deserialize(reader)
    })?;
    let told = |key: &Twice| format!("\n  line {}: key {:?} already set in map", key.line, key.key);
    let told: String = seen.twice.iter().map(told).collect();
    let twice = if told.is_empty() { Vec::new() } else { vec![format!("yaml: unmarshal errors:{told}")] };
    Ok(Read { value, twice })
}

/// A key as a reader gives it.
trait Key: for<'de> Deserialize<'de> {
    /// The key, and its line; 0 if the reader does not know.
    fn split(self) -> (String, u64);
}

impl Key for String {
    fn split(self) -> (String, u64) {
        (self, 0)
    }
}

impl Key for Spanned<String> {
    fn split(self) -> (String, u64) {
        (self.value, self.referenced.line())
    }
}

/// Where the reader is, and what stands twice so far.
#[derive(Default)]
struct Seen {
    path: String,
    twice: Vec<Twice>,
}

struct Twice {
    path: String,
    key: String,
    line: u64,
}

/// How a visitor takes what is neither a list nor a map.
macro_rules! scalars {
    () => {
        fn visit_bool<E>(self, value: bool) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_i64<E>(self, value: i64) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_u64<E>(self, value: u64) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_f64<E>(self, value: f64) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_str<E>(self, value: &str) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_string<E>(self, value: String) -> Result<serde_json::Value, E> {
            Ok(value.into())
        }

        fn visit_none<E>(self) -> Result<serde_json::Value, E> {
            Ok(serde_json::Value::Null)
        }

        fn visit_unit<E>(self) -> Result<serde_json::Value, E> {
            Ok(serde_json::Value::Null)
        }
    };
}
pub(crate) use scalars;

/// A value that is to be read.
struct Node<'s, K> {
    seen: &'s mut Seen,
    key: std::marker::PhantomData<K>,
}

impl<'s, K: Key> Node<'s, K> {
    fn of(seen: &'s mut Seen) -> Self {
        Self { seen, key: std::marker::PhantomData }
    }
}

impl<'de, K: Key> DeserializeSeed<'de> for Node<'_, K> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de, K: Key> Visitor<'de> for Node<'_, K> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    scalars!();

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.deserialize(reader)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let Self { seen, .. } = self;
        let (mut list, end) = (Vec::new(), seen.path.len());
        loop {
            // A text takes everything.
            let _ = write!(seen.path, "[{}]", list.len());
            let element = elements.next_element_seed(Node::<K>::of(seen))?;
            seen.path.truncate(end);
            match element {
                Some(element) => list.push(element),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Self { seen, .. } = self;
        let (mut map, end) = (Map::new(), seen.path.len());
        while let Some(key) = members.next_key::<K>()? {
            let (key, line) = key.split();
            if end > 0 {
                seen.path.push('.');
            }
            seen.path.push_str(&key);
            if map.contains_key(&key) {
                seen.twice.push(Twice { path: seen.path.clone(), key: key.clone(), line });
            }
            let value = members.next_value_seed(Node::<K>::of(seen))?;
            seen.path.truncate(end);
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_counts_and_is_told() {
        let read = json(br#"{"a":1,"b":[{"c":1,"c":2}],"a":{"d":null,"d":"x"}}"#).expect("JSON");
        let twice = [r#"duplicate field "b[0].c""#, r#"duplicate field "a""#, r#"duplicate field "a.d""#];
        assert_eq!(
            read,
            Read { value: json!({ "a": { "d": "x" }, "b": [{ "c": 2 }] }), twice: twice.map(str::to_owned).to_vec() }
        );
        let read = yaml("a: 1\nb:\n- c: true\n  c: 1.5\n  d: ~\na: 'x'\n").expect("YAML");
        let twice =
            "yaml: unmarshal errors:\n  line 4: key \"c\" already set in map\n  line 6: key \"a\" already set in map";
        assert_eq!(
            read,
            Read { value: json!({ "a": "x", "b": [{ "c": 1.5, "d": null }] }), twice: vec![twice.to_owned()] }
        );
    }

    #[test]
    fn a_text_is_read_as_by_others() {
        for text in
            ["{}", "[1,-2,3.5,1e3,true,null,\"\\u00e4\"]", "18446744073709551615", "\"x\"", "{\"a\":{\"b\":[[]]}}"]
        {
            let expected: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(json(text.as_bytes()).expect("JSON"), Read { value: expected.clone(), twice: Vec::new() });
            assert_eq!(yaml(text).expect("YAML").value, expected, "{text}");
        }
        for text in ["", "{", "{} {}", "[1,]"] {
            assert!(json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(json("[".repeat(100_000).as_bytes()).is_err() && yaml(&"[".repeat(100_000)).is_err());
    }
}
