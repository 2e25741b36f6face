//! `v1 ServiceAccount`.

use super::{Column, Kind, Subresource, Verbs, column};
use crate::object::Look;

/// Whom pods act as.
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
    columns: COLUMNS,
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Secrets", "How many Secrets it names.", |object, _| object.list("secrets").len().into()),
    column::AGE,
];
