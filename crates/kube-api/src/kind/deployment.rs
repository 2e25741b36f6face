//! `apps/v1 Deployment`.

use super::{Kind, Subresource, Verbs, strategy};

/// Pods of a version, replaced step by step by those of the next.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short: &["deploy"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: Verbs::PART },
        Subresource { name: "status", group: "apps", version: "v1", kind: "Deployment", verbs: Verbs::PART },
    ],
    schema: "Deployment",
    prepare: strategy::generations,
    ..Kind::BASE
};
