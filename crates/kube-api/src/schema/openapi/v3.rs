//! The documents of version 3.

use std::collections::BTreeSet;

use bytes::Bytes;
use ring::digest;
use serde_json::{Map, Value, json};

use super::{
    definition,
    operation::{Operation, PATCHES, item, paths},
    property::scalars,
    reachable, roots,
};
use crate::{
    kind::{self, Kind},
    schema::SOURCES,
};

const PREFIX: &str = "#/components/schemas/";

/// Where the documents are: by `api/v1`, `apis/apps/v1` ..., each with a hash that changes when the schema does. JSON.
pub fn v3_index() -> Bytes {
    let hash = hash();
    let places: BTreeSet<String> = kind::ALL.iter().map(|kind| place(kind)).collect();
    let paths = places.into_iter().map(|place| {
        let url = format!("/openapi/v3/{place}?hash={hash}");
        (place, json!({ "serverRelativeURL": url }))
    });
    json!({ "paths": paths.collect::<Map<_, _>>() }).to_string().into()
}

/// The document of `api/v1`, `apis/apps/v1` ..., JSON.
pub fn v3(asked: &str) -> Option<Bytes> {
    let kinds: Vec<&'static Kind> = kind::ALL.iter().copied().filter(|kind| place(kind) == asked).collect();
    if kinds.is_empty() {
        return None;
    }
    let all = kinds.iter().flat_map(|kind| paths(kind));
    let paths: Map<String, Value> = all.map(|(path, operations)| (path, item(&operations, write))).collect();
    let types = reachable(kinds.iter().flat_map(|kind| roots(kind)));
    let mut schemas: Map<String, Value> = types.values().map(|of| (of.definition(), definition(of, PREFIX))).collect();
    schemas.extend(scalars(true));
    let patch = json!({ "description": "A patch of one of the forms.", "type": "object" });
    schemas.insert("io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned(), patch);
    let info = json!({ "title": "Kubernetes", "version": "v1.36.0" });
    let document = json!({ "openapi": "3.0.0", "info": info, "paths": paths, "components": { "schemas": schemas } });
    Some(document.to_string().into())
}

fn place(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}/{}", kind.group, kind.version)
    }
}

/// Of all that the documents are made from.
fn hash() -> String {
    let mut sum = digest::Context::new(&digest::SHA256);
    SOURCES.iter().for_each(|source| sum.update(source.as_bytes()));
    sum.update(env!("CARGO_PKG_VERSION").as_bytes());
    for kind in kind::ALL {
        sum.update(format!("{}/{}{:?}{:?}", kind.group, kind.plural, kind.verbs, kind.subresources).as_bytes());
    }
    sum.finish().as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn write(operation: &Operation) -> Value {
    let names = operation
        .names
        .iter()
        .map(|name| json!({ "in": "path", "name": name, "required": true, "schema": { "type": "string" } }));
    let query = operation.query.iter().map(
        |(name, kind, doc)| json!({ "in": "query", "name": name, "description": doc, "schema": { "type": kind } }),
    );
    let reference = |name: &str| json!({ "schema": { "$ref": format!("{PREFIX}{name}") } });
    let mut written = json!({
        "parameters": names.chain(query).collect::<Vec<_>>(),
        "responses": { "200": { "description": "OK", "content": { "application/json": reference(&operation.answer) } } },
    });
    if let Some(body) = &operation.body {
        let forms: &[&str] = if operation.action == "patch" { &PATCHES } else { &["application/json"] };
        let content: Map<String, Value> = forms.iter().map(|form| ((*form).to_owned(), reference(body))).collect();
        written["requestBody"] = json!({ "content": content });
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_leads_to_documents() {
        let index: Value = serde_json::from_slice(&v3_index()).expect("JSON");
        for (place, told) in index["paths"].as_object().expect("paths") {
            let url = told["serverRelativeURL"].as_str().expect("url");
            assert!(url.starts_with(&format!("/openapi/v3/{place}?hash=")), "{url}");
            let document: Value = serde_json::from_slice(&v3(place).expect("a document")).expect("JSON");
            references(&document, &mut |reference| {
                let name = reference.strip_prefix(PREFIX).expect("a schema");
                assert!(document["components"]["schemas"].get(name).is_some(), "{place}: {name}");
            });
        }
        assert_eq!(v3("apis/none/v1"), None);
    }

    fn references(value: &Value, seen: &mut impl FnMut(&str)) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
                Value::String(text) if name == "$ref" => seen(text),
                _ => references(value, seen),
            }),
            Value::Array(elements) => elements.iter().for_each(|value| references(value, seen)),
            _ => {}
        }
    }
}
