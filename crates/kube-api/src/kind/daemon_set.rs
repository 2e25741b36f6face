//! `apps/v1 DaemonSet`.

use serde_json::Value;

use super::{Column, Errors, Kind, Path, column, strategy, workload};
use crate::object::Look;

/// One pod on every node.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short: &["ds"],
    categories: &["all"],
    subresources: &[workload::status("DaemonSet")],
    schema: "DaemonSet",
    columns: COLUMNS,
    default,
    validate,
    validate_update: workload::validate_update,
    prepare: workload::prepare,
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::integer("Desired", "Nodes that should have a pod.", |o, _| {
        workload::number(o, "status.desiredNumberScheduled")
    }),
    column::integer("Current", "Those that have one.", |o, _| workload::number(o, "status.currentNumberScheduled")),
    column::integer("Ready", "Nodes with a ready pod.", |o, _| workload::number(o, "status.numberReady")),
    column::integer("Up-to-date", "Nodes with a pod of the newest template.", |o, _| {
        workload::number(o, "status.updatedNumberScheduled")
    }),
    column::integer("Available", "Nodes with an available pod.", |o, _| workload::number(o, "status.numberAvailable")),
    column::text("Node Selector", "Labels of its nodes.", |o, _| {
        column::labels(o.map("spec.template.spec.nodeSelector")).into()
    }),
    column::AGE,
    workload::CONTAINERS,
    workload::IMAGES,
    workload::SELECTOR,
];

fn default(object: &mut Value) {
    strategy::fill(object, "spec.updateStrategy.type", "RollingUpdate");
    if object.text("spec.updateStrategy.type") == "RollingUpdate" {
        strategy::fill(object, "spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
        strategy::fill(object, "spec.updateStrategy.rollingUpdate.maxSurge", 0);
    }
    workload::fill_template(object);
}

fn validate(object: &Value, errors: &mut Errors) {
    workload::validate(object, "daemonset", errors);
    if object.text("spec.updateStrategy.type") == "RollingUpdate" {
        let path = Path::new("spec.updateStrategy.rollingUpdate");
        workload::validate_rolling(object.at("spec.updateStrategy.rollingUpdate"), &path, errors);
    }
}
