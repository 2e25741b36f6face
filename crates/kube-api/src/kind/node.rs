//! `v1 Node`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Column, Errors, Kind, Path, Scope, Subresource, Verbs, column, strategy, syntax};
use crate::object::Look;

/// A machine that runs pods.
pub static KIND: Kind = Kind {
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short: &["no"],
    scope: Scope::Cluster,
    subresources: &[
        Subresource { name: "proxy", group: "", version: "v1", kind: "NodeProxyOptions", verbs: Verbs::PROXY },
        Subresource { name: "status", group: "", version: "v1", kind: "Node", verbs: Verbs::PART },
    ],
    schema: "Node",
    columns: COLUMNS,
    validate,
    validate_update,
    // A node says its own status when it makes itself known.
    prepare: |new, old| {
        if old.is_some() {
            strategy::status(new, old);
        }
    },
    fields: &[("spec.unschedulable", |node| node.is("spec.unschedulable").to_string())],
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Status", "Whether it is ready, and takes pods.", |node, _| status(node).into()),
    column::text("Roles", "What it is for.", |node, _| roles(node).into()),
    column::AGE,
    column::text("Version", "Version of its agent.", |node, _| node.text("status.nodeInfo.kubeletVersion").into()),
    column::wide("Internal-IP", "Its address within.", |node, _| address(node, "InternalIP").into()),
    column::wide("External-IP", "Its address outside.", |node, _| address(node, "ExternalIP").into()),
    column::wide("OS-Image", "Its distribution.", |node, _| known(node, "osImage")),
    column::wide("Kernel-Version", "Its kernel.", |node, _| known(node, "kernelVersion")),
    column::wide("Container-Runtime", "Its runtime.", |node, _| known(node, "containerRuntimeVersion")),
];

fn status(node: &Value) -> String {
    let ready = node.list("status.conditions").iter().find(|one| one.text("type") == "Ready");
    let ready = match ready.map(|one| one.text("status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = if node.is("spec.unschedulable") { ",SchedulingDisabled" } else { "" };
    format!("{ready}{cordoned}")
}

fn roles(node: &Value) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in node.map("metadata.labels").into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/").filter(|role| !role.is_empty()) {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.extend(value.as_str().filter(|role| !role.is_empty()));
        }
    }
    column::or(&roles.into_iter().collect::<Vec<_>>().join(","), column::NONE).to_owned()
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    let told = node.list("status.addresses").iter().find(|one| one.text("type") == kind);
    told.map_or(column::NONE, |one| one.text("address"))
}

fn known(node: &Value, field: &str) -> Value {
    column::or(node.text(&format!("status.nodeInfo.{field}")), column::UNKNOWN).into()
}

fn validate(node: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let mut seen = BTreeSet::new();
    for (at, taint) in node.list("spec.taints").iter().enumerate() {
        let path = path.field("taints").index(at);
        let (key, effect) = (taint.text("key"), taint.text("effect"));
        if !key.is_empty() {
            syntax::check(taint.at("key"), &path.field("key"), syntax::qualified_name, errors);
        }
        syntax::check(taint.at("value"), &path.field("value"), syntax::label_value, errors);
        if !seen.insert((key, effect)) {
            errors.duplicate(&path, taint.clone());
        }
    }
    for (at, cidr) in node.list("spec.podCIDRs").iter().enumerate() {
        syntax::check(Some(cidr), &path.field("podCIDRs").index(at), syntax::cidr, errors);
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    if !old.list("spec.podCIDRs").is_empty() && new.list("spec.podCIDRs") != old.list("spec.podCIDRs") {
        errors.forbidden(&path.field("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid");
    }
    let (before, after) = (old.text("spec.providerID"), new.text("spec.providerID"));
    if !before.is_empty() && before != after {
        errors.forbidden(&path.field("providerID"), "node updates may not change providerID except from \"\" to valid");
    }
}
