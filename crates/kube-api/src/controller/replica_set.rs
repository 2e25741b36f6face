//! ReplicaSets: as many pods of one template as were asked for.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::change::{self, Event, ObjectChange, Outcome, Severity, controller_of, delete, json, with_status};
use super::claim::claim;
use super::cluster::{Cluster, ObjectRef};
use super::pod;
use super::selector::Selector;

const COMPONENT: &str = "replicaset-controller";
/// The most pods that are made or deleted at once.
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Makes what is missing, deletes what is too much, counts.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(set) = cluster.get::<ReplicaSet>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &set.spec else { return Outcome::default() };
    let claim = claim::<ReplicaSet, Pod>(cluster, set, &Selector::of(&spec.selector));
    if !claim.changes.is_empty() {
        return claim.changes.into();
    }
    let active: Vec<_> = claim.own.iter().copied().filter(|pod| pod::active(pod)).collect();
    let terminating = claim.own.iter().filter(|pod| pod::terminating(pod) && !pod::finished(pod)).count();
    let mut outcome = Outcome::default();
    if set.metadata.deletion_timestamp.is_none() {
        let wanted = usize::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
        if active.len() < wanted {
            create(set, spec, wanted - active.len(), cluster.revision, &mut outcome);
        } else {
            remove(cluster, set, &active, active.len() - wanted, now, &mut outcome);
        }
    }
    let status = count(set, spec, &active, terminating, &outcome, now);
    if set.status.as_ref() != Some(&status) {
        outcome.changes.extend(with_status(cluster, key, &status));
    }
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    for wait in active.iter().filter_map(|pod| pod::available_in(pod, min_ready, now)).filter(|wait| !wait.is_zero()) {
        outcome.again_after(wait);
    }
    outcome
}

/// What the server's refusal of a pod, or of its deletion, means.
pub fn refused(
    cluster: &Cluster,
    key: &ObjectRef,
    change: &ObjectChange,
    message: &str,
    now: Timestamp,
) -> Option<Vec<ObjectChange>> {
    let set = cluster.get::<ReplicaSet>(key.namespace(), key.name())?;
    let (reason, words) = match change {
        ObjectChange::Create(_) => ("FailedCreate", "Error creating"),
        ObjectChange::Delete(_) => ("FailedDelete", "Error deleting"),
        _ => return None,
    };
    let mut changes = vec![event(set, Severity::Warning, reason, format!("{words}: {message}"))];
    let mut status = set.status.clone().unwrap_or_default();
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().all(|condition| condition.type_ != "ReplicaFailure") {
        conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_transition_time: Some(Time(now)),
        });
        status.observed_generation = set.metadata.generation;
        changes.extend(with_status(cluster, key, &status));
    }
    Some(changes)
}

fn create(set: &ReplicaSet, spec: &ReplicaSetSpec, missing: usize, revision: u64, outcome: &mut Outcome) {
    let template = spec.template.clone().unwrap_or_default();
    for number in 0..missing.min(BURST) {
        let owner = controller_of::<ReplicaSet>(&set.metadata);
        let pod = pod::from_template(&template, owner, set.metadata.namespace.as_ref(), (revision, number));
        outcome.changes.push(ObjectChange::Create(json(&pod)));
        let message = format!("Created pod: {}", pod.metadata.name.unwrap_or_default());
        outcome.changes.push(event(set, Severity::Normal, "SuccessfulCreate", message));
    }
}

fn remove(cluster: &Cluster, set: &ReplicaSet, active: &[&Pod], surplus: usize, now: Timestamp, outcome: &mut Outcome) {
    if surplus == 0 {
        return;
    }
    let crowds = crowds(cluster, set);
    let crowd = |pod: &Pod| pod::node(pod).and_then(|node| crowds.get(node)).copied().unwrap_or(0);
    let mut pods = active.to_vec();
    pods.sort_by(|a, b| dispensable(a, b, (crowd(a), crowd(b)), now));
    for pod in pods.into_iter().take(surplus.min(BURST)) {
        outcome.changes.push(delete::<Pod>(&pod.metadata));
        let message = format!("Deleted pod: {}", pod.metadata.name.as_deref().unwrap_or_default());
        outcome.changes.push(event(set, Severity::Normal, "SuccessfulDelete", message));
    }
}

/// How many pods of the same deployment run on each node: of a crowd one is easier to spare.
fn crowds<'a>(cluster: &'a Cluster, set: &'a ReplicaSet) -> BTreeMap<&'a str, usize> {
    let owner = set.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let siblings: Vec<&ReplicaSet> = match owner {
        Some(owner) => cluster.controlled_by::<ReplicaSet>(&owner.uid).collect(),
        None => vec![set],
    };
    let mut crowds = BTreeMap::new();
    for sibling in siblings {
        for pod in cluster.controlled_by::<Pod>(sibling.metadata.uid.as_deref().unwrap_or_default()) {
            if let Some(node) = pod::node(pod).filter(|_| pod::active(pod)) {
                *crowds.entry(node).or_insert(0) += 1;
            }
        }
    }
    crowds
}

/// Which of two pods is deleted first (`Less`): the one that does less, costs less, shares its node with more, or is younger.
fn dispensable(a: &Pod, b: &Pod, crowd: (usize, usize), now: Timestamp) -> Ordering {
    let phase = |pod: &Pod| match pod::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Pod| -> i32 {
        let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
        cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
    };
    let made = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    pod::node(a)
        .is_some()
        .cmp(&pod::node(b).is_some())
        .then(phase(a).cmp(&phase(b)))
        .then(pod::ready(a).cmp(&pod::ready(b)))
        .then(cost(a).cmp(&cost(b)))
        .then(crowd.1.cmp(&crowd.0))
        .then_with(|| younger(pod::ready_since(a), pod::ready_since(b), now, a, b))
        .then(pod::restarts(b).cmp(&pod::restarts(a)))
        .then_with(|| younger(made(a), made(b), now, a, b))
}

/// By the magnitude of the ages only, so that it is not always the same ones that go; within one magnitude by uid.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp, one: &Pod, other: &Pod) -> Ordering {
    match (a, b) {
        (a, b) if a == b => Ordering::Equal,
        (Some(a), Some(b)) => {
            let magnitude = |time: Timestamp| now.duration_since(time).as_nanos().max(0).checked_ilog2();
            magnitude(a).cmp(&magnitude(b)).then_with(|| one.metadata.uid.cmp(&other.metadata.uid))
        }
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn count(
    set: &ReplicaSet,
    spec: &ReplicaSetSpec,
    active: &[&Pod],
    terminating: usize,
    outcome: &Outcome,
    now: Timestamp,
) -> ReplicaSetStatus {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let some = |count: usize| (count != 0).then(|| number(count));
    let labels = spec.template.as_ref().and_then(|template| template.metadata.as_ref()?.labels.clone());
    let template = Selector::pairs(&labels.unwrap_or_default());
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let old = set.status.as_ref();
    // What was refused is no longer, once nothing is left to make or delete.
    let conditions = old.and_then(|status| status.conditions.clone()).map(|mut conditions| {
        conditions.retain(|condition| condition.type_ != "ReplicaFailure" || !outcome.changes.is_empty());
        conditions
    });
    ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: some(active.iter().filter(|p| template.matches(p.metadata.labels.as_ref())).count()),
        ready_replicas: some(active.iter().filter(|pod| pod::ready(pod)).count()),
        available_replicas: some(active.iter().filter(|pod| pod::available(pod, min_ready, now)).count()),
        terminating_replicas: Some(number(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions.filter(|conditions| !conditions.is_empty()),
    }
}

fn event(set: &ReplicaSet, severity: Severity, reason: &'static str, message: String) -> ObjectChange {
    let about = change::about::<ReplicaSet>(&set.metadata);
    ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
}
