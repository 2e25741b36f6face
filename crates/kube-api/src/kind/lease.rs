//! `coordination.k8s.io/v1 Lease`.

use super::Kind;

/// Who holds something, and until when.
pub static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "Lease",
    ..Kind::BASE
};
