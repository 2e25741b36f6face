//! `v1 Namespace`.

use serde_json::json;

use super::{Kind, NameRule, Scope, Subresource, Verbs, strategy};
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
    prepare: |new, old| {
        strategy::status_apart(new, old);
        if old.is_none() {
            new.put("spec.finalizers", json!(["kubernetes"]));
            new.put("status.phase", "Active");
        }
    },
    fields: &[("status.phase", |object| object.text("status.phase").to_owned())],
    ..Kind::BASE
};
