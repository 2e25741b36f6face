//! The scheduler: a node for each pod, or why there is none.

pub mod fit;
mod neighbours;
pub mod resource;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::{self, Event, ObjectChange, Outcome, Severity, with_status};
use super::cluster::{Cluster, ObjectRef};
use super::pod;
use super::template::fnv32;
use neighbours::Placement;
use resource::Amounts;

/// `schedulerName` of the pods that are ours.
const NAME: &str = "default-scheduler";

/// Binds a pod, or says in its status and in an event why it cannot be.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(pod) = cluster.get::<Pod>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &pod.spec else { return Outcome::default() };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name.is_empty() || name == NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if pod::node(pod).is_some() || !pod::active(pod) || !ours || gated {
        return Outcome::default();
    }
    match choose(&placement(cluster), pod, spec) {
        Ok(node) => bind(pod, key, node),
        Err(message) => unschedulable(cluster, pod, key, message, now),
    }
}

fn placement(cluster: &Cluster) -> Placement<'_> {
    let nodes: Vec<&Node> = cluster.list::<Node>(None).collect();
    let on = |node: &&'_ Node| node.metadata.name.clone().unwrap_or_default();
    let mut placed = Vec::new();
    for node in &nodes {
        placed.extend(cluster.pods_on(&on(node)).filter(|pod| !pod::finished(pod)).map(|pod| (pod, *node)));
    }
    Placement { cluster, nodes, placed }
}

fn choose<'a>(placement: &Placement<'a>, pod: &Pod, spec: &PodSpec) -> Result<&'a Node, String> {
    if placement.nodes.is_empty() {
        return Err("no nodes available to schedule pods".into());
    }
    let requests = resource::requests(spec);
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut helpless = 0;
    let mut fitting = Vec::new();
    for node in &placement.nodes {
        let room = Room::of(placement, node);
        match refusals(placement, pod, spec, &requests, node, &room) {
            refusals if refusals.is_empty() => fitting.push((*node, room)),
            refusals => {
                helpless += usize::from(refusals.iter().any(|refusal| !refusal.preemption_helps));
                for refusal in refusals {
                    *reasons.entry(refusal.reason).or_insert(0) += 1;
                }
            }
        }
    }
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let best = fitting.into_iter().max_by_key(|(node, room)| {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        (score(placement, pod, spec, &requests, node, room), fnv32(&[uid.as_bytes(), name.as_bytes()]))
    });
    best.map(|(node, _)| node).ok_or_else(|| explain(placement.nodes.len(), &reasons, helpless))
}

/// In the words of Kubernetes, the reasons sorted as text.
fn explain(nodes: usize, reasons: &BTreeMap<String, usize>, helpless: usize) -> String {
    let mut texts: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    let mut preemption = Vec::new();
    if nodes > helpless {
        preemption.push(format!("{} No preemption victims found for incoming pod", nodes - helpless));
    }
    if helpless > 0 {
        preemption.push(format!("{helpless} Preemption is not helpful for scheduling"));
    }
    preemption.sort();
    format!(
        "0/{nodes} nodes are available: {}. preemption: 0/{nodes} nodes are available: {}.",
        texts.join(", "),
        preemption.join(", ")
    )
}

/// What is taken on a node.
struct Room {
    used: Amounts,
    pods: i128,
}

impl Room {
    fn of(placement: &Placement<'_>, node: &Node) -> Room {
        let mut room = Room { used: Amounts::new(), pods: 0 };
        for (pod, theirs) in &placement.placed {
            if theirs.metadata.name == node.metadata.name {
                room.pods += 1;
                resource::add(&mut room.used, &pod.spec.as_ref().map(resource::requests).unwrap_or_default());
            }
        }
        room
    }
}

struct Refusal {
    reason: String,
    /// Whether fewer pods on the node would change it.
    preemption_helps: bool,
}

/// Why a node does not suit: of the first thing that is wrong.
fn refusals(
    placement: &Placement<'_>,
    pod: &Pod,
    spec: &PodSpec,
    requests: &Amounts,
    node: &Node,
    room: &Room,
) -> Vec<Refusal> {
    let never = |reason: String| vec![Refusal { reason, preemption_helps: false }];
    let crowded = |reason: &str| Refusal { reason: reason.into(), preemption_helps: true };
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let cordoned = k8s_openapi::api::core::v1::Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Default::default()
    };
    let unschedulable = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    if unschedulable && !tolerations.iter().any(|toleration| fit::tolerates(toleration, &cordoned)) {
        return never("node(s) were unschedulable".into());
    }
    if fit::untolerated(tolerations, node, &["NoSchedule", "NoExecute"]).is_some() {
        return never("node(s) had untolerated taint(s)".into());
    }
    if !fit::matches_labels(spec, node) {
        return never("node(s) didn't match Pod's node affinity/selector".into());
    }
    let ports = fit::host_ports(spec);
    let taken = placement.placed.iter().filter(|(_, theirs)| theirs.metadata.name == node.metadata.name);
    if taken.filter_map(|(other, _)| other.spec.as_ref()).any(|other| fit::ports_clash(&ports, &fit::host_ports(other)))
    {
        return vec![crowded("node(s) didn't have free ports for the requested pod ports")];
    }
    let lacking = lacking(requests, node, room);
    if !lacking.is_empty() {
        return lacking;
    }
    neighbours::refusal(placement, pod, spec, node).map(crowded).into_iter().collect()
}

fn lacking(requests: &Amounts, node: &Node, room: &Room) -> Vec<Refusal> {
    let allocatable = resource::allocatable(node);
    let mut lacking = Vec::new();
    if allocatable.get("pods").is_some_and(|pods| (room.pods + 1) * 1_000 > *pods) {
        lacking.push(Refusal { reason: "Too many pods".into(), preemption_helps: true });
    }
    for (name, wanted) in requests.iter().filter(|(_, wanted)| **wanted > 0) {
        let has = allocatable.get(name).copied().unwrap_or(0);
        if wanted + room.used.get(name).copied().unwrap_or(0) > has {
            lacking.push(Refusal { reason: format!("Insufficient {name}"), preemption_helps: *wanted <= has });
        }
    }
    lacking
}

/// The better node has the higher score: what the pod prefers, then room.
fn score(placement: &Placement<'_>, pod: &Pod, spec: &PodSpec, requests: &Amounts, node: &Node, room: &Room) -> i64 {
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let disliked = i64::from(fit::untolerated(tolerations, node, &["PreferNoSchedule"]).is_some());
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let liked: i64 = affinity
        .iter()
        .flat_map(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .filter(|term| fit::matches_term(&term.preference, node))
        .map(|term| i64::from(term.weight))
        .sum();
    let allocatable = resource::allocatable(node);
    let free = |name: &str| {
        let has = allocatable.get(name).copied().unwrap_or(0).max(1);
        let used = room.used.get(name).copied().unwrap_or(0) + requests.get(name).copied().unwrap_or(0);
        i64::try_from((has - used).max(0) * 100 / has).unwrap_or(0)
    };
    let crowd = neighbours::crowd(placement, pod, spec, node);
    let near = neighbours::preference(placement, pod, spec, node);
    liked.saturating_mul(2) + near.saturating_mul(2) - crowd.saturating_mul(100) - disliked * 300
        + free("cpu").midpoint(free("memory"))
        - i64::try_from(room.pods).unwrap_or(i64::MAX)
}

fn bind(pod: &Pod, key: &ObjectRef, node: &Node) -> Outcome {
    let node = node.metadata.name.clone().unwrap_or_default();
    let message = format!("Successfully assigned {}/{} to {node}", key.namespace(), key.name());
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    vec![ObjectChange::Bind { pod: key.clone(), uid, node }, event(pod, Severity::Normal, "Scheduled", message)].into()
}

fn unschedulable(cluster: &Cluster, pod: &Pod, key: &ObjectRef, message: String, now: Timestamp) -> Outcome {
    let before = pod::condition(pod, "PodScheduled");
    if before.is_some_and(|before| before.status == "False" && before.message.as_ref() == Some(&message)) {
        return Outcome::default();
    }
    let since = before.filter(|before| before.status == "False").and_then(|before| before.last_transition_time.clone());
    let mut status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".into(),
        status: "False".into(),
        reason: Some("Unschedulable".into()),
        message: Some(message.clone()),
        last_transition_time: since.or(Some(Time(now))),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    });
    let mut changes = vec![event(pod, Severity::Warning, "FailedScheduling", message)];
    changes.extend(with_status(cluster, key, &status));
    changes.into()
}

fn event(pod: &Pod, severity: Severity, reason: &'static str, message: String) -> ObjectChange {
    let about = change::about::<Pod>(&pod.metadata);
    ObjectChange::Event(Event { about, severity, reason, message, component: NAME })
}
