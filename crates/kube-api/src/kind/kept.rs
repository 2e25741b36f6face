//! How the objects of a kind are kept: as they are, or as those of another kind that shows the same under other field names.

use bytes::Bytes;
use serde_json::Value;
use store::objects::Stored;

use super::Kind;
use crate::object::{Look, encoding};

/// That the objects of a kind are those of another under other field names: who writes one writes the other.
#[derive(Clone, Copy)]
pub struct Twin {
    /// The kind as which they are kept.
    pub of: &'static Kind,
    /// Fields of the object itself: their names here, and as they are kept.
    pub fields: &'static [(&'static str, &'static str)],
}

impl Kind {
    /// The kind as which its objects are kept.
    pub fn kept_as(&self) -> &Self {
        self.twin.as_ref().map_or(self, |twin| twin.of)
    }

    /// An object as it is kept.
    pub fn encode(&self, object: &Value) -> Bytes {
        match &self.twin {
            None => encoding::encode(object),
            Some(twin) => {
                let names = twin.fields.iter().map(|(here, kept)| (*here, *kept));
                encoding::encode(&renamed(object.clone(), twin.of, names))
            }
        }
    }

    /// A kept object, read.
    pub fn decode(&self, stored: &Stored) -> Value {
        self.shown(encoding::decode(stored))
    }

    /// A kept object, read without `managedFields`, which is quicker.
    pub fn glance(&self, stored: &Stored) -> Value {
        self.shown(encoding::glance(stored))
    }

    /// What is kept, as one of this kind.
    fn shown(&self, kept: Value) -> Value {
        match &self.twin {
            None => kept,
            Some(twin) => renamed(kept, self, twin.fields.iter().map(|(here, kept)| (*kept, *here))),
        }
    }

    /// A kept object as clients get it.
    pub fn serve(&self, stored: &Stored) -> Bytes {
        match self.twin {
            None => encoding::serve(stored),
            Some(_) => self.decode(stored).to_string().into(),
        }
    }

    /// The same, at the end of a text.
    pub fn serve_to(&self, text: &mut Vec<u8>, stored: &Stored) {
        match self.twin {
            None => encoding::serve_to(text, stored),
            Some(_) => text.extend_from_slice(self.decode(stored).to_string().as_bytes()),
        }
    }
}

/// An object of another kind.
fn renamed<'n>(mut object: Value, to: &Kind, names: impl Iterator<Item = (&'n str, &'n str)>) -> Value {
    for (old, new) in names {
        if let Some(value) = object.take_at(old) {
            object.put(new, value);
        }
    }
    object.put("apiVersion", to.api_version());
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::objects::Revision;

    use super::*;
    use crate::kind::event;

    #[test]
    fn events_of_both_groups_are_the_same_objects() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "a", "resourceVersion": "7" },
            "involvedObject": { "kind": "Pod", "name": "web" }, "message": "It is here", "reportingComponent": "k",
            "count": 3, "source": { "component": "k" }, "reason": "Pulled",
        });
        let group = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "a", "resourceVersion": "7" },
            "regarding": { "kind": "Pod", "name": "web" }, "note": "It is here", "reportingController": "k",
            "deprecatedCount": 3, "deprecatedSource": { "component": "k" }, "reason": "Pulled",
        });
        let kinds = [&event::CORE, &event::GROUP];
        for (kind, written) in kinds.into_iter().zip([&core, &group]) {
            let stored = Stored { created: Revision(7), modified: Revision(7), value: kind.encode(written) };
            for (kind, expected) in kinds.into_iter().zip([&core, &group]) {
                assert_eq!(kind.decode(&stored), *expected);
                assert_eq!(serde_json::from_slice::<Value>(&kind.serve(&stored)).expect("JSON"), *expected);
            }
        }
    }
}
