//! `networking.k8s.io/v1 NetworkPolicy`.

use super::{Kind, strategy};

/// Who may talk to whom.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short: &["netpol"],
    schema: "NetworkPolicy",
    prepare: strategy::generations,
    ..Kind::BASE
};
