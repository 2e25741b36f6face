//! `v1 Binding`.

use super::{Kind, Verbs};

/// Says on which node a pod runs.
pub static KIND: Kind = Kind {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    schema: "Binding",
    verbs: Verbs::CREATE,
    ..Kind::BASE
};
