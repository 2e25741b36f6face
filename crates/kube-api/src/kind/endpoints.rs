//! `v1 Endpoints`.

use super::Kind;

/// Where a service leads, in the old form.
pub static KIND: Kind = Kind {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short: &["ep"],
    schema: "Endpoints",
    ..Kind::BASE
};
