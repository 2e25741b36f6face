//! The pod of a daemon set for one node.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};

use super::super::change::controller_of;
use super::super::pod;
use super::HASH_LABEL;

/// What daemons bear, with the effect.
const BORNE: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// The template's pod with the tolerations of all daemons.
pub fn tolerant(mut spec: PodSpec) -> PodSpec {
    let network = (spec.host_network == Some(true)).then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in BORNE.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.into()),
            operator: Some("Exists".into()),
            effect: Some(effect.into()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec
}

/// The pod, which only that node suits.
pub fn pod(set: &DaemonSet, spec: &DaemonSetSpec, node: &Node, hash: &str, salt: (u64, usize)) -> Pod {
    let mut template = spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.into(), hash.into());
    labels.insert("pod-template-generation".into(), set.metadata.generation.unwrap_or(1).to_string());
    let mut pod_spec = tolerant(template.spec.take().unwrap_or_default());
    pin(&mut pod_spec, node.metadata.name.as_deref().unwrap_or_default());
    template.spec = Some(pod_spec);
    pod::from_template(&template, controller_of::<DaemonSet>(&set.metadata), set.metadata.namespace.as_ref(), salt)
}

/// In place of every field requirement of the required terms; their labels have been looked at already.
fn pin(spec: &mut PodSpec, node: &str) {
    let requirement =
        NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.into()]) };
    let term = NodeSelectorTerm { match_fields: Some(vec![requirement]), match_expressions: None };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}
