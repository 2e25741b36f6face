//! Whether the other pods of a node, or of its zone, suit a pod: affinity, anti-affinity, topology spread.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, PodAffinityTerm, PodSpec, TopologySpreadConstraint};

use super::super::cluster::Cluster;
use super::super::pod;
use super::super::selector::{Requirement, Selector};
use super::fit;

/// The nodes and the pods on them that placement looks at.
pub struct Placement<'a> {
    pub cluster: &'a Cluster,
    pub nodes: Vec<&'a Node>,
    /// Pods that are bound and not finished, with their nodes.
    pub placed: Vec<(&'a Pod, &'a Node)>,
}

/// Why a node does not suit, in Kubernetes' words.
pub fn refusal(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, node: &Node) -> Option<&'static str> {
    spread_refusal(placement, pod, spec, node).or_else(|| affinity_refusal(placement, pod, spec, node))
}

fn affinity_refusal(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, node: &Node) -> Option<&'static str> {
    let affinity = spec.affinity.as_ref();
    let wanted = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let wanted = wanted.and_then(|wanted| wanted.required_during_scheduling_ignored_during_execution.as_deref());
    let wanted = wanted.unwrap_or_default();
    let met = |term: &PodAffinityTerm| neighbours(placement, term, pod, node).next().is_some();
    let in_domain = |term: &PodAffinityTerm| fit::label(node, &term.topology_key).is_some();
    // The first pod of a group that wants to be together finds nobody to be with.
    let first_of_group = || {
        let nobody = wanted
            .iter()
            .all(|term| !placement.placed.iter().any(|(other, _)| selects(placement.cluster, term, pod, other)));
        nobody && wanted.iter().all(|term| selects(placement.cluster, term, pod, pod))
    };
    if !wanted.iter().all(in_domain) || !(wanted.iter().all(met) || first_of_group()) {
        return Some("node(s) didn't match pod affinity rules");
    }
    let unwanted = anti_terms(spec);
    if unwanted.iter().any(|term| neighbours(placement, term, pod, node).next().is_some()) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let minded = placement.placed.iter().any(|(other, theirs)| {
        let terms = other.spec.as_ref().map(anti_terms).unwrap_or_default();
        terms.iter().any(|term| same_domain(term, theirs, node) && selects(placement.cluster, term, other, pod))
    });
    minded.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

/// The wish to be with or apart from others that may be broken: the sum of the weights.
pub fn preference(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, node: &Node) -> i64 {
    let affinity = spec.affinity.as_ref();
    let near = affinity.and_then(|affinity| affinity.pod_affinity.as_ref());
    let near = near.and_then(|near| near.preferred_during_scheduling_ignored_during_execution.as_deref());
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let apart = apart.and_then(|apart| apart.preferred_during_scheduling_ignored_during_execution.as_deref());
    let sum = |terms: Option<&[k8s_openapi::api::core::v1::WeightedPodAffinityTerm]>| -> i64 {
        let terms = terms.unwrap_or_default().iter();
        terms
            .map(|term| {
                let count = neighbours(placement, &term.pod_affinity_term, pod, node).count();
                i64::from(term.weight) * i64::try_from(count).unwrap_or(i64::MAX)
            })
            .sum()
    };
    sum(near) - sum(apart)
}

/// How many of its like are in the node's domains, for spreads that may be broken; fewer is better.
pub fn crowd(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, node: &Node) -> i64 {
    let soft = spec.topology_spread_constraints.iter().flatten().filter(|c| c.when_unsatisfiable == "ScheduleAnyway");
    let counts = soft.map(|constraint| {
        let domain = fit::label(node, &constraint.topology_key).unwrap_or_default();
        domains(placement, pod, spec, constraint).get(domain).copied().unwrap_or(0)
    });
    counts.sum()
}

fn spread_refusal(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, node: &Node) -> Option<&'static str> {
    let hard = spec.topology_spread_constraints.iter().flatten().filter(|c| c.when_unsatisfiable != "ScheduleAnyway");
    for constraint in hard {
        let Some(domain) = fit::label(node, &constraint.topology_key) else {
            return Some("node(s) didn't match pod topology spread constraints (missing required label)");
        };
        let domains = domains(placement, pod, spec, constraint);
        let number = i32::try_from(domains.len()).unwrap_or(i32::MAX);
        let least =
            if number < constraint.min_domains.unwrap_or(1) { 0 } else { domains.values().min().copied().unwrap_or(0) };
        let own = i64::from(spread_selector(pod, constraint).matches(pod.metadata.labels.as_ref()));
        let here = domains.get(domain).copied().unwrap_or(0);
        if here + own - least > i64::from(constraint.max_skew) {
            return Some("node(s) didn't match pod topology spread constraints");
        }
    }
    None
}

/// How many of the constraint's pods are in each domain that the pod could be in.
fn domains<'a>(
    placement: &Placement<'a>,
    pod: &Pod,
    spec: &PodSpec,
    constraint: &TopologySpreadConstraint,
) -> BTreeMap<&'a str, i64> {
    let honours_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let honours_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let eligible = |node: &Node| {
        (!honours_affinity || fit::matches_labels(spec, node))
            && (!honours_taints || fit::untolerated(tolerations, node, &["NoSchedule", "NoExecute"]).is_none())
    };
    let selector = spread_selector(pod, constraint);
    let mut domains = BTreeMap::new();
    for node in placement.nodes.iter().filter(|node| eligible(node)) {
        if let Some(domain) = fit::label(node, &constraint.topology_key) {
            domains.entry(domain).or_insert(0);
        }
    }
    for (other, node) in &placement.placed {
        let counts = other.metadata.namespace == pod.metadata.namespace
            && !pod::terminating(other)
            && selector.matches(other.metadata.labels.as_ref());
        let domain = fit::label(node, &constraint.topology_key).filter(|_| counts && eligible(node));
        if let Some(count) = domain.and_then(|domain| domains.get_mut(domain)) {
            *count += 1;
        }
    }
    domains
}

fn spread_selector(pod: &Pod, constraint: &TopologySpreadConstraint) -> Selector {
    let Some(selector) = &constraint.label_selector else {
        return Selector::default().and(Requirement::new("", "In", &[]));
    };
    with_label_keys(Selector::of(selector), pod, constraint.match_label_keys.as_deref(), "In")
}

fn with_label_keys(mut selector: Selector, pod: &Pod, keys: Option<&[String]>, operator: &str) -> Selector {
    for key in keys.unwrap_or_default() {
        if let Some(value) = pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            selector = selector.and(Requirement::new(key, operator, std::slice::from_ref(value)));
        }
    }
    selector
}

fn anti_terms(spec: &PodSpec) -> &[PodAffinityTerm] {
    let apart = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    apart.and_then(|apart| apart.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

/// The placed pods that a term of `pod` means, in the same domain as `node`.
fn neighbours<'a>(
    placement: &'a Placement<'_>,
    term: &'a PodAffinityTerm,
    pod: &'a Pod,
    node: &'a Node,
) -> impl Iterator<Item = &'a Pod> {
    let candidates = placement.placed.iter().filter(move |(_, theirs)| same_domain(term, theirs, node));
    candidates.filter(move |(other, _)| selects(placement.cluster, term, pod, other)).map(|(other, _)| *other)
}

fn same_domain(term: &PodAffinityTerm, a: &Node, b: &Node) -> bool {
    let domain = fit::label(a, &term.topology_key);
    domain.is_some() && domain == fit::label(b, &term.topology_key)
}

/// Whether a term of `pod` means `other`.
fn selects(cluster: &Cluster, term: &PodAffinityTerm, pod: &Pod, other: &Pod) -> bool {
    let Some(selector) = &term.label_selector else { return false };
    let selector = with_label_keys(Selector::of(selector), pod, term.match_label_keys.as_deref(), "In");
    let selector = with_label_keys(selector, pod, term.mismatch_label_keys.as_deref(), "NotIn");
    let theirs = other.metadata.namespace.as_deref().unwrap_or_default();
    let listed = term.namespaces.iter().flatten().any(|namespace| namespace == theirs);
    let selected = term.namespace_selector.as_ref().is_some_and(|namespaces| {
        let labels = cluster
            .get::<k8s_openapi::api::core::v1::Namespace>("", theirs)
            .and_then(|namespace| namespace.metadata.labels.as_ref());
        Selector::of(namespaces).matches(labels)
    });
    let unsaid = term.namespaces.as_ref().is_none_or(Vec::is_empty) && term.namespace_selector.is_none();
    let here = unsaid && other.metadata.namespace == pod.metadata.namespace;
    (listed || selected || here) && selector.matches(other.metadata.labels.as_ref())
}
