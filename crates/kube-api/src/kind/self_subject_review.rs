//! `authentication.k8s.io/v1 SelfSubjectReview`.

use super::{Kind, Scope, Verbs};

/// Who am I?
pub static KIND: Kind = Kind {
    group: "authentication.k8s.io",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    scope: Scope::Cluster,
    verbs: Verbs::CREATE,
    schema: "SelfSubjectReview",
    ..Kind::BASE
};
