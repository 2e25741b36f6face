//! `authorization.k8s.io/v1 SelfSubjectAccessReview`.

use super::{Kind, Scope, Verbs};

/// May I?
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    scope: Scope::Cluster,
    verbs: Verbs::CREATE,
    schema: "SelfSubjectAccessReview",
    ..Kind::BASE
};
