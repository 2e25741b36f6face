//! DaemonSets: one pod on each node that suits it, and a new one there when the template changes.

mod revision;
mod rolling;
mod template;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::change::{self, Event, ObjectChange, Outcome, Severity, delete, json, with_status};
use super::claim::claim;
use super::cluster::{Cluster, ObjectRef};
use super::pod;
use super::scheduler::fit;
use super::selector::Selector;

const COMPONENT: &str = "daemonset-controller";
/// The label of the template that a pod was made of.
pub const HASH_LABEL: &str = "controller-revision-hash";

/// One step of a daemon set towards what it asks for.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(set) = cluster.get::<DaemonSet>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &set.spec else { return Outcome::default() };
    let selector = Selector::of(&spec.selector);
    if selector.is_empty() {
        let message = "This daemon set is selecting all pods. A non-empty selector is required.".to_string();
        return vec![event(set, Severity::Warning, "SelectingAll", message)].into();
    }
    if set.metadata.deletion_timestamp.is_some() {
        return Outcome::default();
    }
    let claim = claim::<DaemonSet, Pod>(cluster, set, &selector);
    if !claim.changes.is_empty() {
        return claim.changes.into();
    }
    let history = match revision::history(cluster, set, spec, &selector) {
        Ok(history) => history,
        Err(outcome) => return outcome,
    };
    let daemons = Daemons::new(cluster, set, spec, &claim.own, history.hash.clone(), now);
    let mut outcome = Outcome::default();
    let (mut needing, mut deleted) = daemons.manage(&mut outcome);
    let on_delete = spec.update_strategy.as_ref().is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete"));
    // One thing at a time: what is replaced is what has settled.
    if !on_delete && needing.is_empty() && deleted.is_empty() {
        (needing, deleted) = daemons.roll();
    }
    for (number, node) in needing.into_iter().enumerate() {
        let pod = template::pod(set, spec, node, &history.hash, (cluster.revision, number));
        outcome.changes.push(ObjectChange::Create(json(&pod)));
        let message = format!("Created pod: {}", pod.metadata.name.unwrap_or_default());
        outcome.changes.push(event(set, Severity::Normal, "SuccessfulCreate", message));
    }
    for pod in deleted {
        outcome.changes.push(delete::<Pod>(&pod.metadata));
        let message = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
        outcome.changes.push(event(set, Severity::Normal, "SuccessfulDelete", message));
    }
    outcome.changes.extend(history.surplus(spec, &claim.own));
    let status = daemons.count();
    if set.status.as_ref() != Some(&status) {
        outcome.changes.extend(with_status(cluster, key, &status));
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let waits = claim.own.iter().filter_map(|pod| pod::available_in(pod, min_ready, now));
    for wait in waits.filter(|wait| !wait.is_zero()) {
        outcome.again_after(wait);
    }
    outcome
}

/// What the server's refusal of a pod, or of its deletion, means.
pub fn refused(cluster: &Cluster, key: &ObjectRef, change: &ObjectChange, message: &str) -> Option<Vec<ObjectChange>> {
    let set = cluster.get::<DaemonSet>(key.namespace(), key.name())?;
    let (reason, words) = match change {
        ObjectChange::Create(_) => ("FailedCreate", "Error creating"),
        ObjectChange::Delete(_) => ("FailedDelete", "Error deleting"),
        _ => return None,
    };
    Some(vec![event(set, Severity::Warning, reason, format!("{words}: {message}"))])
}

/// A daemon set, the nodes, and its pods on each.
struct Daemons<'a> {
    set: &'a DaemonSet,
    spec: &'a DaemonSetSpec,
    hash: String,
    now: Timestamp,
    nodes: Vec<(&'a Node, Suits)>,
    /// By the name of the node, bound ones first, then the oldest.
    pods: BTreeMap<String, Vec<&'a Pod>>,
}

/// What a node is to a daemon set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suits {
    /// A pod belongs there.
    Yes,
    /// One that is there may stay.
    NoLonger,
    /// None may be there.
    No,
}

impl<'a> Daemons<'a> {
    fn new(
        cluster: &'a Cluster,
        set: &'a DaemonSet,
        spec: &'a DaemonSetSpec,
        own: &[&'a Pod],
        hash: String,
        now: Timestamp,
    ) -> Self {
        let wanted = spec.template.spec.clone().unwrap_or_default();
        let wanted = template::tolerant(wanted);
        let nodes = cluster.list::<Node>(None).map(|node| (node, suits(&wanted, node))).collect();
        let mut pods: BTreeMap<String, Vec<&Pod>> = BTreeMap::new();
        for pod in own {
            if let Some(node) = target(pod) {
                pods.entry(node.into()).or_default().push(pod);
            }
        }
        for pods in pods.values_mut() {
            pods.sort_by_key(|pod| {
                let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (pod::node(pod).is_none(), made, pod.metadata.name.as_deref())
            });
        }
        Daemons { set, spec, hash, now, nodes, pods }
    }

    fn on(&self, node: &Node) -> &[&'a Pod] {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        self.pods.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The nodes that have no pod and should, and the pods that should not be.
    fn manage(&self, outcome: &mut Outcome) -> (Vec<&'a Node>, Vec<&'a Pod>) {
        let (mut needing, mut deleted) = (Vec::new(), Vec::new());
        for (node, suits) in &self.nodes {
            let pods = self.on(node);
            match suits {
                Suits::Yes if pods.is_empty() => needing.push(*node),
                Suits::No => deleted.extend(pods.iter().filter(|pod| !pod::terminating(pod))),
                _ => self.settle(node, *suits, outcome, &mut needing, &mut deleted),
            }
        }
        let names: BTreeSet<_> = self.nodes.iter().filter_map(|(node, _)| node.metadata.name.as_deref()).collect();
        let homeless = self.pods.iter().filter(|(node, _)| !names.contains(node.as_str()));
        deleted.extend(
            homeless.flat_map(|(_, pods)| pods).filter(|pod| pod::node(pod).is_none() && !pod::terminating(pod)),
        );
        (needing, deleted)
    }

    fn settle(
        &self,
        node: &'a Node,
        suits: Suits,
        outcome: &mut Outcome,
        needing: &mut Vec<&'a Node>,
        deleted: &mut Vec<&'a Pod>,
    ) {
        let mut running = Vec::new();
        for pod in self.on(node).iter().filter(|pod| !pod::terminating(pod)) {
            let name = |pod: &Pod| {
                let meta = &pod.metadata;
                let (namespace, name) =
                    (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
                format!("{namespace}/{name} on node {}", node.metadata.name.as_deref().unwrap_or_default())
            };
            match pod::phase(pod) {
                "Failed" => {
                    let message = format!("Found failed daemon pod {}, will try to kill it", name(pod));
                    outcome.changes.push(event(self.set, Severity::Warning, "FailedDaemonPod", message));
                    deleted.push(*pod);
                }
                "Succeeded" => {
                    let message = format!("Found succeeded daemon pod {}, will try to delete it", name(pod));
                    outcome.changes.push(event(self.set, Severity::Normal, "SucceededDaemonPod", message));
                    deleted.push(*pod);
                }
                _ => running.push(*pod),
            }
        }
        if self.slack().0 == 0 {
            deleted.extend(running.into_iter().skip(1));
        } else if running.is_empty() {
            // Beside one that ends there may be one that begins.
            needing.extend((suits == Suits::Yes).then_some(node));
        } else {
            self.thin_out(&running, deleted);
        }
    }

    /// Under a surge there may be two: an old one that serves, until the new one does.
    fn thin_out(&self, running: &[&'a Pod], deleted: &mut Vec<&'a Pod>) {
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = running.iter().partition(|pod| self.is_new(pod));
        deleted.extend(new.iter().skip(1).chain(old.iter().skip(1)));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pod::ready(old) || self.is_available(new))
        {
            deleted.push(old);
        }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)) == Some(&self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod::available(pod, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn count(&self) -> DaemonSetStatus {
        let mut status = DaemonSetStatus {
            observed_generation: self.set.metadata.generation,
            collision_count: self.set.status.as_ref().and_then(|status| status.collision_count),
            conditions: self.set.status.as_ref().and_then(|status| status.conditions.clone()),
            ..DaemonSetStatus::default()
        };
        let (mut updated, mut available) = (0, 0);
        for (node, suits) in &self.nodes {
            let oldest = self.on(node).first();
            match suits {
                Suits::Yes => status.desired_number_scheduled += 1,
                _ => status.number_misscheduled += i32::from(oldest.is_some()),
            }
            if let Some(pod) = oldest.filter(|_| *suits == Suits::Yes) {
                status.current_number_scheduled += 1;
                status.number_ready += i32::from(pod::ready(pod));
                available += i32::from(self.is_available(pod));
                updated += i32::from(self.is_new(pod));
            }
        }
        let some = |count: i32| (count != 0).then_some(count);
        status.updated_number_scheduled = some(updated);
        status.number_available = some(available);
        status.number_unavailable = some(status.desired_number_scheduled - available);
        status
    }
}

fn suits(wanted: &PodSpec, node: &Node) -> Suits {
    let named = wanted.node_name.as_deref().filter(|name| !name.is_empty());
    let tolerations = wanted.tolerations.as_deref().unwrap_or_default();
    let untolerated = |effect| fit::untolerated(tolerations, node, &[effect]).is_some();
    let meant =
        named.is_none_or(|name| node.metadata.name.as_deref() == Some(name)) && fit::matches_labels(wanted, node);
    match (meant && !untolerated("NoExecute"), untolerated("NoSchedule")) {
        (false, _) => Suits::No,
        (true, true) => Suits::NoLonger,
        (true, false) => Suits::Yes,
    }
}

/// The node that a pod is on or was made for.
fn target(pod: &Pod) -> Option<&str> {
    pod::node(pod).or_else(|| {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
        let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
        let name = fields.into_iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
        name.values.as_ref()?.first().map(String::as_str)
    })
}

fn event(set: &DaemonSet, severity: Severity, reason: &'static str, message: String) -> ObjectChange {
    let about = change::about::<DaemonSet>(&set.metadata);
    ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
}
