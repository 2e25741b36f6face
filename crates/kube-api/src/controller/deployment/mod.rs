//! Deployments: one ReplicaSet for each template, and the way from one to the next.
//!
//! The steps work on copies of the ReplicaSets, in the order of their making; what they changed is written at the end.

mod revision;
mod scale;
mod status;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use super::change::{self, Event, ObjectChange, Outcome, Severity, delete, json, reference, with, with_status};
use super::claim::claim;
use super::cluster::{Cluster, ObjectRef};
use super::pod;
use super::selector::Selector;
use super::template::{Round, scaled};

const COMPONENT: &str = "deployment-controller";

/// One step of a deployment towards what it asks for.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(deployment) = cluster.get::<Deployment>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &deployment.spec else { return Outcome::default() };
    let selector = Selector::of(&spec.selector);
    if selector.is_empty() {
        return selects_everything(cluster, deployment);
    }
    let claim = claim::<Deployment, ReplicaSet>(cluster, deployment, &selector);
    if !claim.changes.is_empty() {
        return claim.changes.into();
    }
    let mut sets: Vec<_> = claim.own.into_iter().cloned().collect();
    sets.sort_by(|a, b| age(a).cmp(&age(b)));
    let rollout = Rollout {
        cluster,
        deployment,
        spec,
        now,
        new: revision::find_new(spec, &sets),
        sets,
        status: deployment.status.clone().unwrap_or_default(),
        created: None,
        events: Vec::new(),
        deleted: Vec::new(),
    };
    rollout.step()
}

/// What the server's refusal of a new ReplicaSet means.
pub fn refused(
    cluster: &Cluster,
    key: &ObjectRef,
    change: &ObjectChange,
    message: &str,
    now: Timestamp,
) -> Option<Vec<ObjectChange>> {
    let deployment = cluster.get::<Deployment>(key.namespace(), key.name())?;
    let ObjectChange::Create(set) = change else { return None };
    let name = set.pointer("/metadata/name")?.as_str()?;
    let message = format!("Failed to create new replica set {name:?}: {message}");
    let mut changes = Vec::new();
    if has_deadline(deployment.spec.as_ref()?) {
        let mut status = deployment.status.clone().unwrap_or_default();
        status::set(&mut status, status::progressing("False", "ReplicaSetCreateError", &message, now));
        changes.extend(with_status(cluster, key, &status));
    }
    changes.push(event(deployment, Severity::Warning, "ReplicaSetCreateError", message));
    Some(changes)
}

/// A deployment, its ReplicaSets, and what becomes of them.
struct Rollout<'a> {
    cluster: &'a Cluster,
    deployment: &'a Deployment,
    spec: &'a DeploymentSpec,
    now: Timestamp,
    /// The oldest first.
    sets: Vec<ReplicaSet>,
    /// Which of them has the deployment's template.
    new: Option<usize>,
    status: DeploymentStatus,
    /// The one among `sets` that is not in the cluster yet.
    created: Option<usize>,
    events: Vec<ObjectChange>,
    deleted: Vec<ObjectChange>,
}

impl Rollout<'_> {
    fn step(mut self) -> Outcome {
        let leaving = self.deployment.metadata.deletion_timestamp.is_some();
        if leaving {
            return self.finish(Ending::StatusOnly);
        }
        if status::note_pause(self.spec, &mut self.status, self.now) {
            return Outcome::from(Vec::from_iter(with_status(self.cluster, &self.key(), &self.status)));
        }
        if let Some(update) = self.number_new() {
            return Outcome::from(vec![update]);
        }
        if self.paused() || self.is_scaling() {
            self.scale();
            if self.paused() {
                self.clean_up();
            }
            return self.finish(Ending::StatusOnly);
        }
        if self.recreates() {
            return self.recreate();
        }
        if let Err(collision) = self.create_new() {
            return collision;
        }
        let moved = self.grow_new() || self.shrink_old();
        if !moved && self.is_complete() {
            self.clean_up();
        }
        self.finish(Ending::Rollout)
    }

    /// All old pods must be gone before the first new one is made.
    fn recreate(mut self) -> Outcome {
        let old: Vec<_> = self.old().filter(|index| size(&self.sets[*index]) > 0).collect();
        let shrunk = !old.is_empty();
        for index in old {
            self.resize(index, 0);
        }
        if shrunk || self.old_pods_run() {
            return self.finish(Ending::Rollout);
        }
        if let Err(collision) = self.create_new() {
            return collision;
        }
        if let Some(new) = self.new {
            self.resize(new, self.wanted());
        }
        if self.is_complete() {
            self.clean_up();
        }
        self.finish(Ending::Rollout)
    }

    fn old_pods_run(&self) -> bool {
        self.old().any(|index| {
            let set = &self.sets[index];
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            replicas(set) > 0 || self.cluster.controlled_by::<Pod>(uid).any(|pod| !pod::finished(pod))
        })
    }

    /// Old ReplicaSets beyond `revisionHistoryLimit` that have nothing left, the lowest revisions first.
    fn clean_up(&mut self) {
        let limit = self.spec.revision_history_limit.unwrap_or(10);
        let mut old: Vec<_> =
            self.old().map(|i| &self.sets[i]).filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        old.sort_by_key(|set| (revision::of(set), age(set)));
        let empty = |set: &&&ReplicaSet| {
            let observed = set.status.as_ref().and_then(|status| status.observed_generation);
            size(set) == 0 && replicas(set) == 0 && set.metadata.generation <= observed
        };
        self.deleted = old.iter().take(surplus).filter(empty).map(|set| delete::<ReplicaSet>(&set.metadata)).collect();
    }

    /// Everything that has become different.
    fn finish(mut self, ending: Ending) -> Outcome {
        let mut outcome = Outcome::default();
        for (index, set) in self.sets.iter().enumerate() {
            if self.created == Some(index) {
                outcome.changes.push(ObjectChange::Create(json(set)));
                continue;
            }
            let key = reference::<ReplicaSet>(&set.metadata);
            let before = self.cluster.get::<ReplicaSet>(key.namespace(), key.name());
            if before.is_some_and(|before| before != set) {
                let edits = [
                    ("metadata.annotations", json(&set.metadata.annotations)),
                    ("spec.replicas", json(&set.spec.as_ref().and_then(|spec| spec.replicas))),
                ];
                outcome.changes.extend(with(self.cluster, &key, &edits).map(ObjectChange::Update));
            }
        }
        outcome.changes.append(&mut self.events);
        outcome.changes.append(&mut self.deleted);
        let status = self.next_status(ending);
        if self.deployment.status.as_ref() != Some(&status) {
            outcome.changes.extend(with_status(self.cluster, &self.key(), &status));
        }
        outcome.again = self.deadline_in(&status);
        outcome
    }

    /// The status of a set may not know yet of what it has just made.
    fn pods_of(&self, set: &ReplicaSet) -> i32 {
        let uid = set.metadata.uid.as_deref().unwrap_or("none yet");
        let pods = self.cluster.controlled_by::<Pod>(uid).filter(|pod| pod::active(pod));
        i32::try_from(pods.count()).unwrap_or(i32::MAX)
    }

    fn key(&self) -> ObjectRef {
        reference::<Deployment>(&self.deployment.metadata)
    }

    fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or_default()
    }

    fn wanted(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn paused(&self) -> bool {
        self.spec.paused == Some(true)
    }

    fn recreates(&self) -> bool {
        self.spec.strategy.as_ref().is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate"))
    }

    fn old(&self) -> impl Iterator<Item = usize> + use<> {
        let new = self.new;
        (0..self.sets.len()).filter(move |index| Some(*index) != new)
    }

    /// How many pods there may be beyond the wanted ones, and how many of them may be missing; never neither.
    fn slack(&self) -> (i32, i32) {
        if self.recreates() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String("25%".into());
        let surge = rolling.and_then(|rolling| rolling.max_surge.as_ref()).unwrap_or(&quarter);
        let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref()).unwrap_or(&quarter);
        let surge = scaled(Some(surge), self.wanted(), Round::Up);
        match scaled(Some(unavailable), self.wanted(), Round::Down) {
            0 if surge == 0 => (0, 1.min(self.wanted())),
            unavailable => (surge, unavailable.min(self.wanted())),
        }
    }

    fn say(&mut self, reason: &'static str, message: String) {
        self.events.push(event(self.deployment, Severity::Normal, reason, message));
    }
}

/// What the status tells at the end of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The counts.
    StatusOnly,
    /// How the rollout goes, too.
    Rollout,
}

fn selects_everything(cluster: &Cluster, deployment: &Deployment) -> Outcome {
    let message = "This deployment is selecting all pods. A non-empty selector is required.".to_string();
    let mut changes = vec![event(deployment, Severity::Warning, "SelectingAll", message)];
    let mut status = deployment.status.clone().unwrap_or_default();
    if status.observed_generation < deployment.metadata.generation {
        status.observed_generation = deployment.metadata.generation;
        changes.extend(with_status(cluster, &reference::<Deployment>(&deployment.metadata), &status));
    }
    changes.into()
}

fn event(deployment: &Deployment, severity: Severity, reason: &'static str, message: String) -> ObjectChange {
    let about = change::about::<Deployment>(&deployment.metadata);
    ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
}

/// What sorts ReplicaSets by the time of their making.
fn age(set: &ReplicaSet) -> (Option<Timestamp>, Option<&str>) {
    (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.as_deref())
}

fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// How many pods it has.
fn replicas(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

fn has_deadline(spec: &DeploymentSpec) -> bool {
    spec.progress_deadline_seconds.is_some_and(|seconds| seconds != i32::MAX)
}
