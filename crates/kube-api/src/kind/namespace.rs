//! `v1 Namespace`.

use serde_json::{Value, json};

use super::{Column, Kind, NameRule, Scope, Subresource, Verbs, column};
use crate::object::Look;

/// A room for names.
pub static KIND: Kind = Kind {
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short: &["ns"],
    scope: Scope::Cluster,
    verbs: Verbs::ONE_BY_ONE,
    subresources: &[
        Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: Verbs(&["update"]) },
        Subresource { name: "status", group: "", version: "v1", kind: "Namespace", verbs: Verbs::PART },
    ],
    schema: "Namespace",
    name: NameRule::Label,
    columns: COLUMNS,
    default,
    prepare,
    fields: &[("status.phase", |object| object.text("status.phase").to_owned())],
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Status", "Active or Terminating.", |object, _| object.text("status.phase").into()),
    column::AGE,
];

/// A label that every namespace has: its name, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

fn default(object: &mut Value) {
    let name = object.text("metadata.name").to_owned();
    if !name.is_empty() {
        let mut labels = object.map("metadata.labels").cloned().unwrap_or_default();
        labels.insert(NAME_LABEL.to_owned(), name.into());
        object.put("metadata.labels", labels);
    }
}

fn prepare(new: &mut Value, old: Option<&Value>) {
    match old {
        None => {
            new.put("spec.finalizers", json!(["kubernetes"]));
            new.put("status", json!({ "phase": "Active" }));
        }
        Some(old) => {
            for field in ["spec", "status"] {
                new.put(field, old.get(field).cloned().unwrap_or_else(|| json!({})));
            }
        }
    }
}
