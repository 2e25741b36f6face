//! `v1 ServiceAccount`.

use super::{Kind, Subresource, Verbs};

/// Who a pod is to the server.
pub static KIND: Kind = Kind {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: Verbs::CREATE,
    }],
    schema: "ServiceAccount",
    ..Kind::BASE
};
