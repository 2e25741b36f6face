//! `authorization.k8s.io/v1 SelfSubjectRulesReview`.

use super::{Kind, Scope, Verbs};

/// What may I?
pub static KIND: Kind = Kind {
    group: "authorization.k8s.io",
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    scope: Scope::Cluster,
    verbs: Verbs::CREATE,
    schema: "SelfSubjectRulesReview",
    ..Kind::BASE
};
