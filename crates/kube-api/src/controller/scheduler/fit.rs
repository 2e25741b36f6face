//! Whether a node by itself suits a pod: its name, labels, taints, ports and resources. The daemon sets ask the same.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerPort, Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

use super::super::selector::{Requirement, Selector};

/// `nodeSelector` and the required node affinity.
pub fn matches_labels(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    if spec.node_selector.as_ref().is_some_and(|pairs| !Selector::pairs(pairs).matches(labels)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches_term(term, node)))
}

/// One term of a node selector. An empty term matches nothing.
pub fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let holds = |requirement: &NodeSelectorRequirement, value: Option<&str>| {
        let values = requirement.values.as_deref().unwrap_or_default();
        Requirement::new(&requirement.key, &requirement.operator, values).holds(value)
    };
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
        && fields.iter().all(|requirement| holds(requirement, field(&requirement.key)))
}

/// The first of the node's taints with one of these effects that no toleration covers.
pub fn untolerated<'a>(tolerations: &[Toleration], node: &'a Node, effects: &[&str]) -> Option<&'a Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    let value = toleration.value.as_deref().unwrap_or_default();
    let theirs = taint.value.as_deref().unwrap_or_default();
    let numbers = || Some((theirs.parse::<i64>().ok()?, value.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => value == theirs,
        "Exists" => true,
        "Lt" => numbers().is_some_and(|(theirs, bound)| theirs < bound),
        "Gt" => numbers().is_some_and(|(theirs, bound)| theirs > bound),
        _ => false,
    }
}

/// The host ports that a pod takes: protocol, address (`0.0.0.0` for all), number.
pub fn host_ports(spec: &PodSpec) -> Vec<(&str, &str, i32)> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let taken = |port: &'_ ContainerPort| port.host_port.filter(|number| *number > 0);
    ports
        .filter_map(|port| {
            let address = port.host_ip.as_deref().filter(|address| !address.is_empty()).unwrap_or("0.0.0.0");
            Some((port.protocol.as_deref().unwrap_or("TCP"), address, taken(port)?))
        })
        .collect()
}

/// Whether two pods cannot have their host ports on one node.
pub fn ports_clash(a: &[(&str, &str, i32)], b: &[(&str, &str, i32)]) -> bool {
    let any = |address: &str| matches!(address, "0.0.0.0" | "::");
    a.iter().any(|(protocol, address, port)| {
        b.iter().any(|(other, theirs, number)| {
            protocol == other && port == number && (address == theirs || any(address) || any(theirs))
        })
    })
}

/// The value of one of the node's labels.
pub fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    let labels: Option<&BTreeMap<String, String>> = node.metadata.labels.as_ref();
    labels?.get(key).map(String::as_str)
}
