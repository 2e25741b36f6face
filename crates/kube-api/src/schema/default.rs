//! Fills in the schema's defaults.

use serde_json::{Map, Value};

use super::{Field, Shape, Type};

/// Sets the fields that are left out and have a default, all the way down. Objects that are left out stay so.
pub fn fill_defaults(of: &Type, value: &mut Value) {
    if let Value::Object(fields) = value {
        fill_object(of, fields);
    }
}

fn fill_object(of: &Type, fields: &mut Map<String, Value>) {
    for (name, field) in &of.fields {
        if let Some(default) = &field.default
            && is_left_out(field, fields.get(*name))
        {
            fields.insert((*name).to_owned(), default.clone());
        }
        if let Some(value) = fields.get_mut(*name) {
            fill_shape(&field.shape, value);
        }
    }
}

// Kubernetes cannot tell an empty text from one that is left out.
fn is_left_out(field: &Field, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty() && field.shape == Shape::String,
        Some(_) => false,
    }
}

fn fill_shape(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Object(name), value) => {
            if let Some(of) = super::lookup(name) {
                fill_defaults(of, value);
            }
        }
        (Shape::List(of), Value::Array(elements)) => elements.iter_mut().for_each(|element| fill_shape(of, element)),
        (Shape::Map(of), Value::Object(entries)) => entries.values_mut().for_each(|entry| fill_shape(of, entry)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::lookup;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let check = |kind: &str, mut value: Value, filled: Value| {
            fill_defaults(lookup(kind).expect(kind), &mut value);
            assert_eq!(value, filled);
        };
        check("Secret", json!({}), json!({ "type": "Opaque" }));
        check("Secret", json!({ "type": "" }), json!({ "type": "Opaque" }));
        check(
            "ServiceSpec",
            json!({ "ports": [{ "port": 80 }] }),
            json!({ "ports": [{ "port": 80, "protocol": "TCP" }], "sessionAffinity": "None", "type": "ClusterIP" }),
        );
        check("Deployment", json!({}), json!({}));
        check("ReplicaSetSpec", json!({ "replicas": 0 }), json!({ "replicas": 0 }));
    }
}
