//! `authorization.k8s.io/v1 SubjectAccessReview`.

use super::{Kind, Scope, Verbs};

/// May they?
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    scope: Scope::Cluster,
    verbs: Verbs::CREATE,
    schema: "SubjectAccessReview",
    ..Kind::BASE
};
