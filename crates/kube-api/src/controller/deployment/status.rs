//! The counts and conditions of a deployment.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentSpec, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Ending, Rollout, available, has_deadline, replicas, size};

const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const AVAILABLE: &str = "NewReplicaSetAvailable";

/// The condition of a type.
pub fn get<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Puts a condition in the place of the one of its type, unless that says the same. A transition is a change of the status only.
pub fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(current) = get(status, &condition.type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time = current.last_transition_time.clone();
        }
    }
    let kind = condition.type_.clone();
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|other| other.type_ != kind);
    conditions.push(condition);
}

fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != kind);
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// A condition of type Progressing.
pub fn progressing(status: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    condition("Progressing", status, reason, message, now)
}

/// Tells of a pause and of its end, so that the deadline does not count meanwhile. Says whether there is something to tell.
pub fn note_pause(spec: &DeploymentSpec, status: &mut DeploymentStatus, now: Timestamp) -> bool {
    let reason = get(status, "Progressing").and_then(|condition| condition.reason.as_deref());
    let noted = reason == Some("DeploymentPaused");
    if !has_deadline(spec) || reason == Some(TIMED_OUT) {
        return false;
    }
    match (spec.paused == Some(true), noted) {
        (true, false) => set(status, progressing("Unknown", "DeploymentPaused", "Deployment is paused", now)),
        (false, true) => set(status, progressing("Unknown", "DeploymentResumed", "Deployment is resumed", now)),
        _ => return false,
    }
    true
}

impl Rollout<'_> {
    /// The status after this step.
    pub fn next_status(&self, ending: Ending) -> DeploymentStatus {
        let mut status = self.counts();
        let enough = status.available_replicas.unwrap_or(0) >= self.wanted() - self.slack().1;
        let (word, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        set(&mut status, condition("Available", word, reason, message, self.now));
        if ending == Ending::Rollout {
            self.tell_progress(&mut status);
            match self.failure() {
                Some(failure) => set(&mut status, failure),
                None => remove(&mut status, "ReplicaFailure"),
            }
        }
        status
    }

    fn counts(&self) -> DeploymentStatus {
        let sum = |count: fn(&ReplicaSet) -> i32| self.sets.iter().map(count).sum::<i32>();
        let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        let terminating = self.sets.iter().map(|set| set.status.as_ref().map_or(Some(0), |s| s.terminating_replicas));
        let available = sum(available);
        let some = |count: i32| (count != 0).then_some(count);
        DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: some(sum(replicas)),
            updated_replicas: some(self.new.map_or(0, |index| replicas(&self.sets[index]))),
            ready_replicas: some(sum(ready)),
            available_replicas: some(available),
            unavailable_replicas: some((sum(size) - available).max(0)),
            terminating_replicas: terminating.sum(),
            collision_count: self.status.collision_count,
            conditions: self.status.conditions.clone(),
        }
    }

    fn tell_progress(&self, status: &mut DeploymentStatus) {
        if !has_deadline(self.spec) {
            remove(status, "Progressing");
            return;
        }
        let before = get(&self.status, "Progressing").cloned();
        let done = before.as_ref().is_some_and(|condition| condition.reason.as_deref() == Some(AVAILABLE));
        if status.replicas == status.updated_replicas && done {
            return;
        }
        let subject = match self.new.and_then(|index| self.sets[index].metadata.name.as_deref()) {
            Some(name) => format!("ReplicaSet {name:?}"),
            None => format!("Deployment {:?}", self.name()),
        };
        if complete(self, status) {
            let message = format!("{subject} has successfully progressed.");
            set(status, progressing("True", AVAILABLE, &message, self.now));
        } else if has_progressed(&self.status, status) {
            let mut condition =
                progressing("True", "ReplicaSetUpdated", &format!("{subject} is progressing."), self.now);
            if let Some(before) = before.filter(|before| before.status == "True") {
                condition.last_transition_time = before.last_transition_time;
            }
            // Each progress moves the deadline, whatever the condition said before.
            remove(status, "Progressing");
            set(status, condition);
        } else if self.timed_out(status) {
            let message = format!("{subject} has timed out progressing.");
            set(status, progressing("False", TIMED_OUT, &message, self.now));
        }
    }

    /// Whether the present status says that the rollout has ended well.
    pub fn is_complete(&self) -> bool {
        complete(self, &self.status)
    }

    fn timed_out(&self, status: &DeploymentStatus) -> bool {
        let Some(condition) = get(status, "Progressing") else { return false };
        match condition.reason.as_deref() {
            Some(AVAILABLE) => false,
            Some(TIMED_OUT) => true,
            _ => self.time_left(condition).is_some_and(|left| left.is_negative()),
        }
    }

    fn time_left(&self, condition: &DeploymentCondition) -> Option<SignedDuration> {
        let deadline = SignedDuration::from_secs(i64::from(self.spec.progress_deadline_seconds?));
        Some(deadline - self.now.duration_since(condition.last_update_time.as_ref()?.0))
    }

    /// When to look whether the deadline has passed.
    pub fn deadline_in(&self, status: &DeploymentStatus) -> Option<Duration> {
        let condition = get(status, "Progressing").filter(|_| has_deadline(self.spec) && !self.paused())?;
        if complete(self, status) || matches!(condition.reason.as_deref(), Some(TIMED_OUT | AVAILABLE)) {
            return None;
        }
        let left = Duration::try_from(self.time_left(condition)?).unwrap_or(Duration::ZERO);
        Some(left + Duration::from_secs(1))
    }

    fn failure(&self) -> Option<DeploymentCondition> {
        let failure_of = |set: &ReplicaSet| {
            set.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == "ReplicaFailure").cloned()
        };
        let new = self.new.and_then(|index| failure_of(&self.sets[index]));
        let failure = new.or_else(|| self.sets.iter().find_map(failure_of))?;
        Some(DeploymentCondition {
            type_: failure.type_,
            status: failure.status,
            reason: failure.reason,
            message: failure.message,
            last_update_time: failure.last_transition_time.clone(),
            last_transition_time: failure.last_transition_time,
        })
    }
}

fn complete(rollout: &Rollout<'_>, status: &DeploymentStatus) -> bool {
    let all = |count: Option<i32>| count.unwrap_or(0) == rollout.wanted();
    all(status.updated_replicas)
        && all(status.replicas)
        && all(status.available_replicas)
        && status.observed_generation >= rollout.deployment.metadata.generation
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(after.updated_replicas) > count(before.updated_replicas)
        || old(after) < old(before)
        || count(after.ready_replicas) > count(before.ready_replicas)
        || count(after.available_replicas) > count(before.available_replicas)
}
