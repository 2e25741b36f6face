//! Some of an object: what is read of it, where the rest is passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use store::objects::Stored;

use super::Look;
use crate::text::scalars;

/// The fields that are read.
#[derive(Debug, Default, PartialEq)]
pub struct Fields(Vec<(&'static str, Fields)>);

impl Fields {
    /// The fields at these paths, with all that is below them. Names in a path are parted by dots; a path leads through each element of a list. None
    /// of them is the beginning of another: that one's would be all that is read.
    pub fn at(paths: &[&'static str]) -> Self {
        let begins = |path: &str, other: &str| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        debug_assert!(!paths.iter().any(|path| paths.iter().any(|other| begins(path, other))), "{paths:?}");
        let mut fields = Self::default();
        for path in paths {
            let mut here = &mut fields;
            for name in path.split('.') {
                let known = here.0.iter().position(|(known, _)| *known == name);
                let index = known.unwrap_or_else(|| {
                    here.0.push((name, Self::default()));
                    here.0.len() - 1
                });
                here = &mut here.0[index].1;
            }
        }
        fields
    }

    /// These fields of a kept object. One that cannot be read is as if it had none.
    pub fn read(&self, stored: &Stored) -> Value {
        let mut reader = serde_json::Deserializer::from_slice(&stored.value);
        let mut object = self.deserialize(&mut reader).unwrap_or_default();
        object.put("metadata.resourceVersion", stored.modified.0.to_string());
        object
    }
}

impl<'de> DeserializeSeed<'de> for &Fields {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(reader);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Fields {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(known) = members.next_key_seed(Name(self))? {
            match known {
                Some((name, fields)) => {
                    map.insert((*name).to_owned(), members.next_value_seed(fields)?);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(map.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
            list.push(element);
        }
        Ok(list.into())
    }

    scalars!();
}

/// The name of a member: the field that it is, if it is read.
struct Name<'f>(&'f Fields);

impl<'de, 'f> DeserializeSeed<'de> for Name<'f> {
    type Value = Option<&'f (&'static str, Fields)>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'f> Visitor<'_> for Name<'f> {
    type Value = Option<&'f (&'static str, Fields)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.0.iter().find(|(known, _)| *known == name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::objects::Revision;

    use super::*;
    use crate::object::encoding;

    #[test]
    fn only_what_is_asked_for_is_read() {
        let pod = json!({
            "kind": "Pod", "metadata": { "name": "w\"eb", "labels": { "a": "b" }, "managedFields": [{ "fieldsV1": { "f:spec": {} } }] },
            "spec": { "containers": [{ "name": "a", "image": "i" }, { "image": "j" }, 3], "hostNetwork": true, "priority": -1 },
            "status": null,
        });
        let stored = Stored { created: Revision(3), modified: Revision(7), value: encoding::encode(&pod) };
        let check = |paths: &[&'static str], mut expected: Value| {
            expected.put("metadata.resourceVersion", "7");
            assert_eq!(Fields::at(paths).read(&stored), expected, "{paths:?}");
        };
        check(&["metadata.name", "nothing"], json!({ "metadata": { "name": "w\"eb" } }));
        check(&["metadata.labels", "status.phase"], json!({ "metadata": { "labels": { "a": "b" } }, "status": null }));
        check(
            &["spec.containers.name", "spec.hostNetwork", "spec.priority"],
            json!({ "spec": { "containers": [{ "name": "a" }, {}, 3], "hostNetwork": true, "priority": -1 } }),
        );
        let whole = encoding::decode(&stored);
        check(&[], whole);
        let broken = Stored { value: "{\"metadata\":{".into(), ..stored };
        assert_eq!(Fields::at(&["spec"]).read(&broken), json!({ "metadata": { "resourceVersion": "7" } }));
    }
}
