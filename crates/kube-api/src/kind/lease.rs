//! `coordination.k8s.io/v1 Lease`.

use super::{Column, Kind, Path, column, syntax};
use crate::object::Look;

/// Who leads, or is alive.
pub static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    schema: "Lease",
    columns: COLUMNS,
    validate: |object, errors| {
        let path = Path::new("spec");
        if let Some(seconds) = object.int("spec.leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
            errors.invalid(&path.field("leaseDurationSeconds"), seconds, "must be greater than 0");
        }
        let transitions = object.at("spec.leaseTransitions");
        syntax::check_number(transitions, &path.field("leaseTransitions"), syntax::not_negative, errors);
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Holder", "Who holds it.", |object, _| object.text("spec.holderIdentity").into()),
    column::AGE,
];
