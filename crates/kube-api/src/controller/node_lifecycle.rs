//! Nodes: silent ones become Unknown, conditions become taints, and taints drive away the pods that do not bear them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::{self, Event, ObjectChange, Outcome, Severity, delete, json, reference, with, with_status};
use super::cluster::{Cluster, ObjectRef};
use super::pod;
use super::scheduler::fit;

/// The namespace of the leases by which nodes show that they live.
pub const LEASES: &str = "kube-node-lease";
/// How long a node may be silent.
const GRACE: SignedDuration = SignedDuration::from_secs(50);
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const COMPONENT: &str = "node-controller";

/// The taints that are this controller's, each with the condition and the status that it stands for.
const CONDITIONS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// Looks after one node: its conditions, then its taints, then its pods.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(node) = cluster.get::<Node>("", key.name()) else { return Outcome::default() };
    let silent = now.duration_since(heard_of(cluster, node, now)) - GRACE;
    let mut outcome = Outcome::default();
    if silent.is_positive() || silent.is_zero() {
        if let Some(changes) = declare_unknown(cluster, node, key, now) {
            return changes.into();
        }
    } else {
        outcome.again_after(silent.unsigned_abs());
    }
    if let Some(update) = taint(cluster, node, key, now) {
        outcome.changes.push(update);
        return outcome;
    }
    if !is_ready(node) {
        outcome.changes.extend(not_ready(cluster, key, now));
    }
    evict(cluster, node, now, &mut outcome);
    outcome
}

/// Whether the node says that it can run pods.
pub fn is_ready(node: &Node) -> bool {
    condition(node, "Ready").is_some_and(|condition| condition.status == "True")
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// When it last showed that it lives; not before the clock was set, since nobody can have renewed anything by the new time before.
fn heard_of(cluster: &Cluster, node: &Node, now: Timestamp) -> Timestamp {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let lease = cluster.get::<Lease>(LEASES, name).and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref());
    let heartbeat = condition(node, "Ready").and_then(|ready| ready.last_heartbeat_time.as_ref());
    let made = node.metadata.creation_timestamp.as_ref();
    let times = [lease.map(|time| time.0), heartbeat.map(|time| time.0), made.map(|time| time.0)];
    times.into_iter().flatten().filter(|time| *time <= now).fold(cluster.clock_set, Ord::max)
}

fn declare_unknown(cluster: &Cluster, node: &Node, key: &ObjectRef, now: Timestamp) -> Option<Vec<ObjectChange>> {
    let mut status = node.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    let mut changed = false;
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                changed = true;
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: kind.into(),
                    status: "Unknown".into(),
                    reason: Some("NodeStatusNeverUpdated".into()),
                    message: Some("Kubelet never posted node status.".into()),
                    last_transition_time: Some(Time(now)),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                });
            }
        }
    }
    let update = with_status(cluster, key, &status).filter(|_| changed)?;
    let mut changes = vec![update];
    if is_ready(node) {
        let message = format!("Node {} status is now: NodeNotReady", key.name());
        let about = change::about::<Node>(&node.metadata);
        let severity = Severity::Normal;
        changes.push(ObjectChange::Event(Event {
            about,
            severity,
            reason: "NodeNotReady",
            message,
            component: COMPONENT,
        }));
    }
    Some(changes)
}

fn taint(cluster: &Cluster, node: &Node, key: &ObjectRef, now: Timestamp) -> Option<ObjectChange> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (kind, status, taint) in CONDITIONS {
        if condition(node, kind).is_some_and(|condition| condition.status == status) {
            wanted.push((taint, "NoSchedule"));
            if kind == "Ready" {
                wanted.push((taint, "NoExecute"));
            }
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        wanted.push((CORDONED, "NoSchedule"));
    }
    let ours = |taint: &Taint| taint.key == CORDONED || CONDITIONS.iter().any(|(_, _, key)| taint.key == *key);
    let is = |taint: &Taint, wanted: &(&str, &str)| taint.key == wanted.0 && taint.effect == wanted.1;
    // A node that has not spoken yet keeps the taint that it was made with.
    let unheard = condition(node, "Ready").is_none();
    let mut taints: Vec<_> = present
        .iter()
        .filter(|taint| unheard || !ours(taint) || wanted.iter().any(|wanted| is(taint, wanted)))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| is(taint, &(key, effect))) {
            let (key, effect) = (key.into(), effect.into());
            taints.push(Taint { key, effect, value: None, time_added: Some(Time(now)) });
        }
    }
    if taints == present {
        return None;
    }
    let taints = if taints.is_empty() { serde_json::Value::Null } else { json(&taints) };
    with(cluster, key, &[("spec.taints", taints)]).map(ObjectChange::Update)
}

/// The pods of a node that nobody hears of are not to get traffic.
fn not_ready(cluster: &Cluster, node: &ObjectRef, now: Timestamp) -> Vec<ObjectChange> {
    let mut changes = Vec::new();
    for pod in cluster.pods_on(node.name()).filter(|pod| pod::ready(pod)) {
        let mut status = pod.status.clone().unwrap_or_default();
        for ready in status.conditions.iter_mut().flatten().filter(|condition| condition.type_ == "Ready") {
            ready.status = "False".into();
            ready.last_transition_time = Some(Time(now));
        }
        changes.extend(with_status(cluster, &reference::<Pod>(&pod.metadata), &status));
        changes.push(event(pod, Severity::Warning, "NodeNotReady", "Node is not ready".into()));
    }
    changes
}

fn evict(cluster: &Cluster, node: &Node, now: Timestamp, outcome: &mut Outcome) {
    let taints: Vec<&Taint> = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).collect();
    let taints: Vec<&Taint> = taints.into_iter().filter(|taint| taint.effect == "NoExecute").collect();
    if taints.is_empty() {
        return;
    }
    for pod in cluster.pods_on(node.metadata.name.as_deref().unwrap_or_default()) {
        if pod::terminating(pod) || pod::finished(pod) {
            continue;
        }
        match bears(pod, &taints, (cluster.clock_set, now)) {
            Patience::Ever => {}
            Patience::For(left) => outcome.again_after(left),
            Patience::Over => {
                outcome.changes.extend(disrupted(cluster, pod, now));
                outcome.changes.push(delete::<Pod>(&pod.metadata));
                let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
                let message = format!(
                    "Marking for deletion Pod {}/{}",
                    namespace.as_deref().unwrap_or_default(),
                    name.as_deref().unwrap_or_default()
                );
                outcome.changes.push(event(pod, Severity::Normal, "TaintManagerEviction", message));
            }
        }
    }
}

/// How long a pod bears the taints of its node.
enum Patience {
    Ever,
    For(Duration),
    Over,
}

fn bears(pod: &Pod, taints: &[&Taint], (clock_set, now): (Timestamp, Timestamp)) -> Patience {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut shortest: Option<SignedDuration> = None;
    for taint in taints {
        let covering: Vec<_> = tolerations.iter().filter(|toleration| fit::tolerates(toleration, taint)).collect();
        if covering.is_empty() {
            return Patience::Over;
        }
        // A taint of before the clock was set is as old as the clock.
        let added = taint.time_added.as_ref().map_or(now, |time| time.0);
        let added = if added > now { clock_set } else { added.max(clock_set) };
        for seconds in covering.iter().filter_map(|toleration| toleration.toleration_seconds) {
            let left = SignedDuration::from_secs(seconds.max(0)) - now.duration_since(added);
            shortest = Some(shortest.map_or(left, |shortest| shortest.min(left)));
        }
    }
    match shortest.map(Duration::try_from) {
        None => Patience::Ever,
        Some(Ok(left)) if !left.is_zero() => Patience::For(left),
        Some(_) => Patience::Over,
    }
}

fn disrupted(cluster: &Cluster, pod: &Pod, now: Timestamp) -> Option<ObjectChange> {
    let mut status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "DisruptionTarget");
    conditions.push(PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("DeletionByTaintManager".into()),
        message: Some("Taint manager: deleting due to NoExecute taint".into()),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    with_status(cluster, &reference::<Pod>(&pod.metadata), &status)
}

fn event(pod: &Pod, severity: Severity, reason: &'static str, message: String) -> ObjectChange {
    let about = change::about::<Pod>(&pod.metadata);
    ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
}
