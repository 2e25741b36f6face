//! `v1 ConfigMap`.

use super::Kind;

/// Settings for pods to read.
pub static KIND: Kind = Kind {
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short: &["cm"],
    schema: "ConfigMap",
    ..Kind::BASE
};
