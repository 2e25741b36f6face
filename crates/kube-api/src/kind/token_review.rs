//! `authentication.k8s.io/v1 TokenReview`.

use super::{Kind, Scope, Verbs};

/// Whose token is this?
pub static KIND: Kind = Kind {
    group: "authentication.k8s.io",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    scope: Scope::Cluster,
    verbs: Verbs::CREATE,
    schema: "TokenReview",
    ..Kind::BASE
};
