//! Documents: what a face keeps beside an object, to show it again as it was told. Never read here.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON text of a face. Written once, then shared: a clone copies a pointer, and journalling it copies the text.
#[derive(Clone)]
pub struct Document(Arc<RawValue>);

impl Document {
    /// The document that says this.
    pub fn of<T: Serialize + ?Sized>(what: &T) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(what).map(|text| Self(text.into()))
    }

    /// What it says, or as much of it as `T` has a place for.
    pub fn read<'d, T: Deserialize<'d>>(&'d self) -> serde_json::Result<T> {
        serde_json::from_str(self.0.get())
    }

    /// Whether the face keeps nothing.
    pub fn is_null(&self) -> bool {
        *self == Self::default()
    }
}

/// A face that keeps nothing: `null`.
impl Default for Document {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned().into())
    }
}

impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.get() == other.0.get()
    }
}

impl Eq for Document {}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back_as_it_was() {
        let text = r#"{"b":1.0,"a":[{"HostPort":"80"}]}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&document).unwrap(), text);
        assert_eq!(document.read::<serde_json::Value>().unwrap()["b"], 1.0);
        assert_eq!(document, document.clone());
        assert!(!document.is_null() && Document::default().is_null());
    }
}
