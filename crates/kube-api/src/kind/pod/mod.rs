//! `v1 Pod`: the descriptor. What pod templates share with pods is in the files beside: defaults and validation of the spec.

pub mod container;
pub mod default;
pub mod probe;
pub mod spec;
pub mod status;
pub mod update;
pub mod variable;
pub mod volume;

use serde_json::{Value, json};

use super::{Column, Errors, Kind, Path, Subresource, Verbs, column, strategy};
use crate::object::Look;

/// Containers that share a network and run on one node.
pub static KIND: Kind = Kind {
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short: &["po"],
    categories: &["all"],
    subresources: SUBRESOURCES,
    schema: "Pod",
    columns: COLUMNS,
    seen: SEEN,
    default: default::pod,
    validate,
    validate_update: update::validate,
    prepare,
    fields: &[
        ("spec.nodeName", |pod| pod.text("spec.nodeName").to_owned()),
        ("spec.restartPolicy", |pod| pod.text("spec.restartPolicy").to_owned()),
        ("spec.schedulerName", |pod| pod.text("spec.schedulerName").to_owned()),
        ("spec.serviceAccountName", |pod| pod.text("spec.serviceAccountName").to_owned()),
        ("spec.hostNetwork", |pod| pod.is("spec.hostNetwork").to_string()),
        ("status.phase", |pod| pod.text("status.phase").to_owned()),
        ("status.podIP", |pod| pod.text("status.podIP").to_owned()),
        ("status.podIPs", |pod| pod.text("status.podIP").to_owned()),
        ("status.nominatedNodeName", |pod| pod.text("status.nominatedNodeName").to_owned()),
    ],
    ..Kind::BASE
};

const SUBRESOURCES: &[Subresource] = &[
    part("attach", "PodAttachOptions", Verbs::STREAM),
    part("binding", "Binding", Verbs::CREATE),
    part("ephemeralcontainers", "Pod", Verbs::PART),
    Subresource { group: "policy", ..part("eviction", "Eviction", Verbs::CREATE) },
    part("exec", "PodExecOptions", Verbs::STREAM),
    part("log", "Pod", Verbs(&["get"])),
    part("portforward", "PodPortForwardOptions", Verbs::STREAM),
    part("proxy", "PodProxyOptions", Verbs::PROXY),
    part("resize", "Pod", Verbs::PART),
    part("status", "Pod", Verbs::PART),
];

const fn part(name: &'static str, kind: &'static str, verbs: Verbs) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Ready", "Ready containers of all.", |pod, _| {
        let told = status::told(pod);
        format!("{}/{}", told.ready, told.total).into()
    }),
    column::text("Status", "What it does.", |pod, _| status::told(pod).word.into()),
    column::text("Restarts", "How often containers were started again, and when last.", |pod, now| {
        let told = status::told(pod);
        match (told.restarts, &told.last_restart) {
            (1.., Some(last)) => format!("{} ({} ago)", told.restarts, column::since(last, now)).into(),
            (restarts, _) => restarts.to_string().into(),
        }
    }),
    column::AGE,
    column::wide("IP", "Its first address.", |pod, _| {
        let first = pod.list("status.podIPs").first().map_or("", |ip| ip.text("ip"));
        column::or(column::or(first, pod.text("status.podIP")), column::NONE).into()
    }),
    column::wide("Node", "Its node.", |pod, _| column::or(pod.text("spec.nodeName"), column::NONE).into()),
    column::wide("Nominated Node", "The node that is being freed for it.", |pod, _| {
        column::or(pod.text("status.nominatedNodeName"), column::NONE).into()
    }),
    column::wide("Readiness Gates", "Conditions of others that hold.", readiness_gates),
];

/// What they look at, and `status` does.
const SEEN: &[&str] = &[
    "metadata.name",
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "spec.nodeName",
    "spec.readinessGates",
    "spec.containers.name",
    "spec.initContainers.name",
    "spec.initContainers.restartPolicy",
    "status",
];

fn readiness_gates(pod: &Value, _: jiff::Timestamp) -> Value {
    let gates = pod.list("spec.readinessGates");
    if gates.is_empty() {
        return column::NONE.into();
    }
    let holds = |gate: &&Value| status::has_condition(pod, gate.text("conditionType"));
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len()).into()
}

fn validate(pod: &Value, errors: &mut Errors) {
    if let Some(of) = pod.get("spec") {
        spec::validate(of, &Path::new("spec"), errors);
    } else {
        errors.required(&Path::new("spec.containers"), "");
    }
}

fn prepare(new: &mut Value, old: Option<&Value>) {
    strategy::spec_and_status(new, old);
    if old.is_none() {
        let qos = spec::qos_class(new);
        new.put("status", json!({ "phase": "Pending", "qosClass": qos }));
        if !new.list("spec.schedulingGates").is_empty() {
            let message = "Scheduling is blocked due to non-empty scheduling gates";
            let gated =
                json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message });
            new.put("status.conditions", json!([gated]));
        }
    }
}
