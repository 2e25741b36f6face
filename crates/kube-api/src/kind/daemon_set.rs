//! `apps/v1 DaemonSet`.

use super::{Kind, Subresource, Verbs, strategy};

/// A pod on every node.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short: &["ds"],
    categories: &["all"],
    subresources: &[Subresource {
        name: "status",
        group: "apps",
        version: "v1",
        kind: "DaemonSet",
        verbs: Verbs::PART,
    }],
    schema: "DaemonSet",
    prepare: strategy::generations,
    ..Kind::BASE
};
