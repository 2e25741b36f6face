//! `authorization.k8s.io/v1 LocalSubjectAccessReview`.

use super::{Kind, Verbs};

/// May they, in this namespace?
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    verbs: Verbs::CREATE,
    schema: "LocalSubjectAccessReview",
    ..Kind::BASE
};
