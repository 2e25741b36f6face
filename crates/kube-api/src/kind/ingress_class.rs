//! `networking.k8s.io/v1 IngressClass`.

use super::{Kind, Scope};

/// Who serves an ingress.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    scope: Scope::Cluster,
    schema: "IngressClass",
    ..Kind::BASE
};
