//! `v1 Node`.

use super::{Kind, Scope, Subresource, Verbs, strategy};
use crate::object::Look;

/// A machine that runs pods.
pub static KIND: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short: &["no"],
    scope: Scope::Cluster,
    subresources: &[
        Subresource { name: "proxy", group: "", version: "v1", kind: "NodeProxyOptions", verbs: Verbs::PROXY },
        Subresource { name: "status", group: "", version: "v1", kind: "Node", verbs: Verbs::PART },
    ],
    schema: "Node",
    prepare: |new, old| {
        if let Some(old) = old {
            strategy::status_apart(new, Some(old));
        }
    },
    fields: &[("spec.unschedulable", |object| object.is("spec.unschedulable").to_string())],
    ..Kind::BASE
};
