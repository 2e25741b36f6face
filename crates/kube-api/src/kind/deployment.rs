//! `apps/v1 Deployment`.

use serde_json::Value;

use super::{Column, Errors, Kind, Path, Subresource, column, strategy, workload};
use crate::object::Look;

/// Pods of one template, updated one after another.
pub static KIND: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short: &["deploy"],
    categories: &["all"],
    subresources: SUBRESOURCES,
    schema: "Deployment",
    columns: COLUMNS,
    default,
    validate,
    validate_update: workload::validate_update,
    prepare,
    ..Kind::BASE
};

const SUBRESOURCES: &[Subresource] = &workload::scale_and_status("Deployment");

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Ready", "Ready pods of those wished.", |object, _| {
        let (ready, wished) = (object.int("status.readyReplicas"), object.int("spec.replicas"));
        format!("{}/{}", ready.unwrap_or_default(), wished.unwrap_or_default()).into()
    }),
    column::text("Up-to-date", "Pods of the newest template.", |o, _| workload::number(o, "status.updatedReplicas")),
    column::text("Available", "Pods that were ready long enough.", |o, _| {
        workload::number(o, "status.availableReplicas")
    }),
    column::AGE,
    workload::CONTAINERS,
    workload::IMAGES,
    workload::SELECTOR,
];

fn default(object: &mut Value) {
    strategy::fill(object, "spec.strategy.type", "RollingUpdate");
    if object.text("spec.strategy.type") == "RollingUpdate" {
        strategy::fill(object, "spec.strategy.rollingUpdate.maxUnavailable", "25%");
        strategy::fill(object, "spec.strategy.rollingUpdate.maxSurge", "25%");
    }
    workload::fill_template(object);
}

fn validate(object: &Value, errors: &mut Errors) {
    workload::validate(object, "deployment", errors);
    let path = Path::new("spec");
    let rolling = object.at("spec.strategy.rollingUpdate");
    let rolling_path = path.field("strategy").field("rollingUpdate");
    match object.text("spec.strategy.type") {
        "Recreate" if rolling.is_some() => {
            errors.forbidden(&rolling_path, "may not be specified when strategy `type` is 'Recreate'");
        }
        "RollingUpdate" => workload::validate_rolling(rolling, &rolling_path, errors),
        _ => {}
    }
    if let Some(deadline) = object.int("spec.progressDeadlineSeconds") {
        let path = path.field("progressDeadlineSeconds");
        if deadline < 0 {
            errors.invalid(&path, deadline, "must be greater than or equal to 0");
        }
        if deadline <= object.int("spec.minReadySeconds").unwrap_or_default() {
            errors.invalid(&path, deadline, "must be greater than minReadySeconds");
        }
    }
}

fn prepare(new: &mut Value, old: Option<&Value>) {
    strategy::status(new, old);
    // Annotations say what the newest revision is: those who look at them must see the change.
    let Some(before) = old else { return strategy::generation(new, old, &["spec"]) };
    strategy::generation(new, old, &["spec"]);
    if new.get("spec") == before.get("spec") && new.at("metadata.annotations") != before.at("metadata.annotations") {
        let generation = before.int("metadata.generation").unwrap_or_default();
        new.put("metadata.generation", generation + 1);
    }
}
