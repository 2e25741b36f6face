//! `apps/v1 ReplicaSet`.

use super::{Kind, Subresource, Verbs, strategy};
use crate::object::Look;

/// So many pods that are alike.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short: &["rs"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: Verbs::PART },
        Subresource { name: "status", group: "apps", version: "v1", kind: "ReplicaSet", verbs: Verbs::PART },
    ],
    schema: "ReplicaSet",
    prepare: strategy::generations,
    fields: &[("status.replicas", |object| object.int("status.replicas").unwrap_or_default().to_string())],
    ..Kind::BASE
};
