//! `networking.k8s.io/v1 Ingress`.

use super::{Kind, Subresource, Verbs, strategy};

/// How requests from outside reach services.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short: &["ing"],
    subresources: &[Subresource {
        name: "status",
        group: "networking.k8s.io",
        version: "v1",
        kind: "Ingress",
        verbs: Verbs::PART,
    }],
    schema: "Ingress",
    prepare: strategy::generations,
    ..Kind::BASE
};
