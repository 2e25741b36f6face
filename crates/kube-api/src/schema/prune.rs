//! Brings what a client sent into the form that is kept: without unknown fields, nulls and empty lists and maps, quantities in their
//! shortest form.

use serde_json::{Map, Value};

use super::{Field, Shape, Type};
use crate::schema::quantity::Quantity;

/// Takes out of a value what its type does not know and what says nothing. Returns the unknown fields as Kubernetes tells of them:
/// `unknown field "spec.foo"`.
pub fn prune(of: &Type, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Value::Object(fields) = value {
        prune_object(of, fields, "", &mut unknown);
    }
    unknown
}

fn prune_object(of: &Type, fields: &mut Map<String, Value>, path: &str, unknown: &mut Vec<String>) {
    fields.retain(|name, value| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(field) = of.fields.get(name.as_str()) else {
            unknown.push(format!("unknown field {path:?}"));
            return false;
        };
        if value.is_null() {
            return false;
        }
        prune_shape(&field.shape, value, &path, unknown);
        !says_nothing(field, value)
    });
}

fn prune_shape(shape: &Shape, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match (shape, value) {
        (Shape::Object(name), Value::Object(fields)) => {
            if let Some(of) = super::lookup(name) {
                prune_object(of, fields, path, unknown);
            }
        }
        (Shape::List(of), Value::Array(elements)) => {
            elements.iter_mut().for_each(|element| stand_in(of, element));
            elements.retain(|element| !element.is_null());
            for (at, element) in elements.iter_mut().enumerate() {
                prune_shape(of, element, &format!("{path}[{at}]"), unknown);
            }
        }
        (Shape::Map(of), Value::Object(entries)) => {
            entries.values_mut().for_each(|entry| stand_in(of, entry));
            entries.retain(|_, entry| !entry.is_null());
            for (key, entry) in entries.iter_mut() {
                prune_shape(of, entry, &format!("{path}.{key}"), unknown);
            }
        }
        (Shape::Quantity, value) => {
            if let Some(quantity) = Quantity::read(value) {
                *value = quantity.to_string().into();
            }
        }
        _ => {}
    }
}

// Kubernetes reads a null among texts as the empty text.
fn stand_in(shape: &Shape, value: &mut Value) {
    if value.is_null() && matches!(shape, Shape::String | Shape::Bytes) {
        *value = "".into();
    }
}

fn says_nothing(field: &Field, value: &Value) -> bool {
    !field.required
        && match (&field.shape, value) {
            (Shape::List(_), Value::Array(elements)) => elements.is_empty(),
            (Shape::Map(_), Value::Object(entries)) => entries.is_empty(),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::lookup;

    #[test]
    fn what_is_unknown_or_says_nothing_goes() {
        let check = |kind: &str, mut value: Value, kept: Value, unknown: &[&str]| {
            let found = prune(lookup(kind).expect(kind), &mut value);
            assert_eq!((value, found), (kept, unknown.iter().map(|&one| one.to_owned()).collect()));
        };
        check(
            "Pod",
            json!({ "metadata": { "creationTimestamp": null, "labels": {} }, "foo": 1,
                    "spec": { "containers": [{ "name": "a", "bar": 1, "args": [], "resources": { "limits": { "cpu": 0.5, "memory": "1024Mi" } } }],
                              "volumes": [{ "name": "v", "emptyDir": {} }] } }),
            json!({ "metadata": {}, "spec": { "containers": [{ "name": "a", "resources": { "limits": { "cpu": "500m", "memory": "1Gi" } } }],
                    "volumes": [{ "name": "v", "emptyDir": {} }] } }),
            &[r#"unknown field "foo""#, r#"unknown field "spec.containers[0].bar""#],
        );
        check("ConfigMap", json!({ "data": { "a": null, "b": "x" } }), json!({ "data": { "a": "", "b": "x" } }), &[]);
        check("Pod", json!({ "spec": { "containers": [] } }), json!({ "spec": { "containers": [] } }), &[]);
    }
}
