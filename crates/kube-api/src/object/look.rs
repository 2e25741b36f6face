//! Reading and writing by path: `object.text("spec.nodeName")`.

use serde_json::{Map, Value};

/// Reading and writing by path. Names in a path are parted by dots; a name that has dots itself is reached step by step. What is not
/// there, or is of another type, reads as nothing.
pub trait Look {
    /// The value at a path.
    fn at(&self, path: &str) -> Option<&Value>;
    /// The text at a path; empty if there is none.
    fn text(&self, path: &str) -> &str;
    /// The whole number at a path.
    fn int(&self, path: &str) -> Option<i64>;
    /// Whether `true` is at a path.
    fn is(&self, path: &str) -> bool;
    /// The list at a path; empty if there is none.
    fn list(&self, path: &str) -> &[Value];
    /// The map at a path.
    fn map(&self, path: &str) -> Option<&Map<String, Value>>;
    /// Puts a value at a path and makes the maps on the way; what is no map there is replaced.
    fn put(&mut self, path: &str, value: impl Into<Value>);
    /// Takes the value at a path away.
    fn take_at(&mut self, path: &str) -> Option<Value>;
    /// The value at a path, for writing.
    fn at_mut(&mut self, path: &str) -> Option<&mut Value>;
}

impl Look for Value {
    fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(self, |value, name| value.as_object()?.get(name)).filter(|value| !value.is_null())
    }

    fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    fn int(&self, path: &str) -> Option<i64> {
        self.at(path)?.as_i64()
    }

    fn is(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or_default()
    }

    fn list(&self, path: &str) -> &[Value] {
        self.at(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    fn map(&self, path: &str) -> Option<&Map<String, Value>> {
        self.at(path)?.as_object()
    }

    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let mut here = self;
        for name in path.split('.') {
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            here = &mut here[name];
        }
        *here = value.into();
    }

    fn take_at(&mut self, path: &str) -> Option<Value> {
        match path.rsplit_once('.') {
            Some((parent, name)) => self.at_mut(parent)?.as_object_mut()?.remove(name),
            None => self.as_object_mut()?.remove(path),
        }
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        path.split('.').try_fold(self, |value, name| value.as_object_mut()?.get_mut(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_followed() {
        let mut pod = json!({ "metadata": { "name": "web" }, "spec": { "containers": [{}], "priority": 3, "hostNetwork": true } });
        assert_eq!(pod.text("metadata.name"), "web");
        assert_eq!(pod.text("metadata.name.more"), "");
        assert_eq!(pod.int("spec.priority"), Some(3));
        assert!(pod.is("spec.hostNetwork") && !pod.is("spec.hostPID"));
        assert_eq!(pod.list("spec.containers").len(), 1);
        pod.put("metadata.labels", json!({}));
        pod.put("status.phase", "Pending");
        assert_eq!(pod.text("status.phase"), "Pending");
        assert_eq!(pod.take_at("status.phase"), Some("Pending".into()));
        assert_eq!(pod.take_at("status.none"), None);
        assert_eq!(pod.at("status.phase"), None);
    }
}
