//! `apps/v1 ControllerRevision`.

use super::Kind;

/// A version of what a controller was asked for.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    schema: "ControllerRevision",
    ..Kind::BASE
};
