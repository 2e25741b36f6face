//! `apps/v1 ReplicaSet`.

use super::{Column, Kind, Subresource, column, workload};
use crate::object::Look;

/// A number of equal pods.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short: &["rs"],
    categories: &["all"],
    subresources: SUBRESOURCES,
    schema: "ReplicaSet",
    columns: COLUMNS,
    default: workload::fill_template,
    validate: |object, errors| workload::validate(object, "deployment", errors),
    validate_update: workload::validate_update,
    prepare: workload::prepare,
    fields: &[("status.replicas", |object| object.int("status.replicas").unwrap_or_default().to_string())],
    ..Kind::BASE
};

const SUBRESOURCES: &[Subresource] = &workload::scale_and_status("ReplicaSet");

const COLUMNS: &[Column] = &[
    column::NAME,
    column::integer("Desired", "Pods that are wished.", |o, _| workload::number(o, "spec.replicas")),
    column::integer("Current", "Pods that are there.", |o, _| workload::number(o, "status.replicas")),
    column::integer("Ready", "Pods that are ready.", |o, _| workload::number(o, "status.readyReplicas")),
    column::AGE,
    workload::CONTAINERS,
    workload::IMAGES,
    workload::SELECTOR,
];
