//! `v1 Secret`.

use super::Kind;
use crate::object::Look;

/// Settings that not everybody should read.
pub static KIND: Kind = Kind {
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    schema: "Secret",
    fields: &[("type", |object| object.text("type").to_owned())],
    ..Kind::BASE
};
