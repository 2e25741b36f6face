//! The document of version 2.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    definition,
    operation::{Operation, PATCHES, item, paths},
    property::scalars,
    protobuf, reachable, roots,
};
use crate::kind;

const PREFIX: &str = "#/definitions/";

/// All kinds in one document, JSON.
pub fn v2() -> Bytes {
    document().to_string().into()
}

/// The same as protobuf.
pub fn v2_protobuf() -> Bytes {
    protobuf::document(&document()).into()
}

fn document() -> Value {
    let all = kind::ALL.iter().flat_map(|kind| paths(kind));
    let paths: Map<String, Value> = all.map(|(path, operations)| (path, item(&operations, write))).collect();
    let types = reachable(kind::ALL.iter().flat_map(|kind| roots(kind)));
    let mut definitions: Map<String, Value> =
        types.values().map(|of| (of.definition(), definition(of, PREFIX))).collect();
    definitions.extend(scalars(false));
    let patch = json!({ "description": "A patch of one of the forms.", "type": "object" });
    definitions.insert("io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned(), patch);
    let info = json!({ "title": "Kubernetes", "version": "v1.36.0" });
    json!({ "swagger": "2.0", "info": info, "paths": paths, "definitions": definitions })
}

fn write(operation: &Operation) -> Value {
    let names =
        operation.names.iter().map(|name| json!({ "in": "path", "name": name, "type": "string", "required": true }));
    let query = operation
        .query
        .iter()
        .map(|(name, kind, doc)| json!({ "in": "query", "name": name, "type": kind, "description": doc, "uniqueItems": true }));
    let reference = |name: &str| json!({ "$ref": format!("{PREFIX}{name}") });
    let body = operation
        .body
        .iter()
        .map(|name| json!({ "in": "body", "name": "body", "required": operation.method != "delete", "schema": reference(name) }));
    let consumes: &[&str] = if operation.action == "patch" { &PATCHES } else { &["application/json"] };
    json!({
        "consumes": consumes, "produces": ["application/json"], "schemes": ["https"],
        "parameters": names.chain(query).chain(body).collect::<Vec<_>>(),
        "responses": { "200": { "description": "OK", "schema": reference(&operation.answer) } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_patches_are_told() {
        let document: Value = serde_json::from_slice(&v2()).expect("JSON");
        let config_map = &document["definitions"]["io.k8s.api.core.v1.ConfigMap"];
        assert_eq!(
            config_map["x-kubernetes-group-version-kind"],
            json!([{ "group": "", "version": "v1", "kind": "ConfigMap" }])
        );
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"];
        let parameters = patch["parameters"].as_array().expect("parameters");
        assert!(["dryRun", "fieldValidation"].iter().all(|name| parameters.iter().any(|one| one["name"] == *name)));
        let owners = &document["definitions"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]["ownerReferences"];
        assert_eq!(owners["x-kubernetes-patch-merge-key"], "uid");
        assert_eq!(owners["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(owners["x-kubernetes-list-map-keys"], json!(["uid"]));
    }
}
