//! What is to be done next for a pod.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use model::ContainerId;

use super::{
    backoff, resources,
    seen::{Attempt, Sandboxed, Seen, Stage, Volumes},
    spec::{self, Role},
};

/// Something to be done for a pod. What is under way already is said again until its effect is seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make its volumes ready.
    Mount,
    /// Make its sandbox.
    MakeSandbox,
    /// Make a container, with its image, and start it.
    Start {
        /// Its name in the pod.
        container: String,
        /// The restart count.
        number: u32,
        /// The pause that came before, seconds.
        pause_s: i64,
    },
    /// End a container: its preStop hook, then its signal, then a kill when its time is up.
    Kill {
        /// The container.
        id: ContainerId,
        /// Its name in the pod.
        container: String,
        /// Why.
        why: String,
        /// Its time, seconds.
        grace_s: i64,
    },
    /// Give a running container the limits that it has in the pod now.
    Resize {
        /// The container.
        id: ContainerId,
        /// Its name in the pod.
        container: String,
    },
    /// Remove a container of which nobody needs the logs any more.
    Forget(ContainerId),
    /// Take the sandbox down: the pod has ended.
    Release,
    /// Remove all that is left of the pod on this node.
    Clear,
    /// Tell the API that nothing is left of the pod.
    Delete,
    /// Look again later.
    Wake(Duration),
}

/// Two ended containers are kept for each of the pod: the newest, and the one whose logs are `--previous`.
const KEPT: usize = 2;
/// Kubernetes' own grace period, seconds.
const GRACE_S: i64 = 30;
/// That of a pod which uses what it may not, seconds.
const EVICTED_S: i64 = 1;
/// A sidecar has at least so long when the others have used up the time of the pod, seconds.
const LEAST_S: i64 = 2;

/// What is to be done next.
pub fn next(pod: &Pod, seen: &Seen, now: Timestamp) -> Vec<Action> {
    let spec = spec::of(pod);
    let mut actions = Vec::new();
    if seen.gone || pod.metadata.deletion_timestamp.is_some() {
        return ending(pod, &spec, seen);
    }
    if seen.refused.is_some() {
        return finished(&spec, seen, EVICTED_S);
    }
    if is_over(pod, &spec, seen, now, &mut actions) {
        return finished(&spec, seen, own_grace_s(&spec));
    }
    match &seen.volumes {
        Volumes::Missing => return vec![Action::Mount],
        Volumes::Failed(failure) => return vec![again(failure.remaining_s(now), Action::Mount)],
        Volumes::Ready => {}
    }
    match &seen.sandbox {
        Sandboxed::Missing => return vec![Action::MakeSandbox],
        Sandboxed::Failed(failure) => return vec![again(failure.remaining_s(now), Action::MakeSandbox)],
        Sandboxed::Down => return Vec::new(),
        Sandboxed::Up { .. } => {}
    }
    let stage = Containers { pod, spec: &spec, seen, now };
    stage.all(&mut actions);
    forget(seen, &mut actions);
    actions
}

/// Whether the pod has ended, or must end, for good.
fn is_over(pod: &Pod, spec: &PodSpec, seen: &Seen, now: Timestamp, actions: &mut Vec<Action>) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return true;
    }
    if let Some(remaining_s) = deadline_s(pod, now) {
        if remaining_s <= 0 {
            return true;
        }
        actions.push(wake(remaining_s));
    }
    has_ended(spec, seen)
}

/// Seconds until the pod's deadline, if it has one.
pub fn deadline_s(pod: &Pod, now: Timestamp) -> Option<i64> {
    let deadline_s = pod.spec.as_ref()?.active_deadline_seconds?;
    let started = &pod.status.as_ref()?.start_time.as_ref()?.0;
    Some(deadline_s - now.duration_since(*started).as_secs())
}

/// Whether no main container runs, or will run again; or an init container has failed for good.
pub fn has_ended(spec: &PodSpec, seen: &Seen) -> bool {
    let over = |role, container: &Container| {
        let end = seen.latest(&container.name).and_then(Attempt::end);
        let changed = seen.latest(&container.name).is_some_and(|latest| is_other(container, latest));
        end.is_some_and(|end| !changed && !spec::restarts(spec, container, role, end.code))
    };
    init_failed(spec, seen).is_some() || spec.containers.iter().all(|container| over(Role::Main, container))
}

/// The init container that has failed for good.
pub fn init_failed<'s>(spec: &'s PodSpec, seen: &Seen) -> Option<&'s Container> {
    let failed = |(role, container): &(Role, &Container)| {
        let end = seen.latest(&container.name).and_then(Attempt::end);
        end.is_some_and(|end| end.code != 0 && !spec::restarts(spec, container, *role, end.code))
    };
    spec::inits(spec).find(failed).map(|(_, container)| container)
}

/// A pod that goes: its containers end, then all that is left of it.
fn ending(pod: &Pod, spec: &PodSpec, seen: &Seen) -> Vec<Action> {
    let own = pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| own_grace_s(spec));
    let grace_s = if seen.gone { 0 } else { own };
    let deadline = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0).filter(|_| !seen.gone);
    let kills = kills(spec, seen, Grace { seconds: grace_s, deadline });
    if !kills.is_empty() {
        return kills;
    }
    let nothing = seen.attempts.is_empty() && seen.sandbox == Sandboxed::Missing && seen.volumes == Volumes::Missing;
    match (nothing, seen.gone) {
        (false, _) => vec![Action::Clear],
        (true, false) => vec![Action::Delete],
        (true, true) => Vec::new(),
    }
}

/// A pod that has ended: what still runs of it ends, and its network goes.
fn finished(spec: &PodSpec, seen: &Seen, grace_s: i64) -> Vec<Action> {
    let kills = kills(spec, seen, Grace { seconds: grace_s, deadline: None });
    match (kills.is_empty(), &seen.sandbox) {
        (true, Sandboxed::Up { .. }) => vec![Action::Release],
        _ => kills,
    }
}

/// How long containers have to end.
struct Grace {
    seconds: i64,
    /// When the pod has to be gone, where somebody waits for that.
    deadline: Option<Timestamp>,
}

/// The main containers end first, then the sidecars, the last one first, in what is left of the pod's time.
fn kills(spec: &PodSpec, seen: &Seen, grace: Grace) -> Vec<Action> {
    let kill = |(name, attempt): (&str, &Attempt), grace_s| Action::Kill {
        id: attempt.id.clone(),
        container: name.to_owned(),
        why: format!("Stopping container {name}"),
        grace_s,
    };
    let is_sidecar = |name: &str| spec::container(spec, name).is_some_and(|(role, _)| role == Role::Sidecar);
    let first: Vec<_> =
        seen.live().filter(|(name, _)| !is_sidecar(name)).map(|live| kill(live, grace.seconds)).collect();
    if !first.is_empty() {
        return first;
    }
    // As long as the same one ends, it is the same time.
    let ended = seen.attempts.values().flatten().filter_map(Attempt::end).map(|end| end.finished).max();
    let left_s = ended.zip(grace.deadline).map(|(ended, deadline)| deadline.duration_since(ended).as_secs());
    let grace_s = left_s.map_or(grace.seconds, |left_s| left_s.clamp(LEAST_S.min(grace.seconds), grace.seconds));
    let sidecars: Vec<_> = spec::inits(spec).map(|(_, container)| container.name.as_str()).collect();
    let live = sidecars.into_iter().rev().find_map(|name| seen.live().find(|(found, _)| *found == name));
    live.map(|live| kill(live, grace_s)).into_iter().collect()
}

fn own_grace_s(spec: &PodSpec) -> i64 {
    spec.termination_grace_period_seconds.unwrap_or(GRACE_S)
}

/// The containers of a pod that is to run.
struct Containers<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    seen: &'a Seen,
    now: Timestamp,
}

impl Containers<'_> {
    fn all(&self, actions: &mut Vec<Action>) {
        let begun = self.spec.containers.iter().any(|container| self.seen.latest(&container.name).is_some());
        for (role, container) in spec::inits(self.spec) {
            let over = self.one(role, container, begun, actions);
            if !begun && !over {
                return;
            }
        }
        for container in &self.spec.containers {
            self.one(Role::Main, container, begun, actions);
        }
        for container in spec::ephemerals(self.spec).iter().filter(|_| begun) {
            self.one(Role::Ephemeral, container, begun, actions);
        }
    }

    /// Sees to one container. Whether the next one may start.
    fn one(&self, role: Role, container: &Container, begun: bool, actions: &mut Vec<Action>) -> bool {
        let name = &container.name;
        let Some(latest) = self.seen.latest(name) else {
            // An init container that is gone was done before the main ones began.
            if role != Role::Init || !begun {
                actions.push(self.start(name, self.number(name), 0, 0));
            }
            return false;
        };
        match &latest.stage {
            Stage::Starting => false,
            Stage::Running { .. } => {
                let checks = self.seen.checks_of(name);
                let changed = || format!("Container {name} definition changed, will be restarted");
                let image = || is_other(container, latest).then(changed);
                let resize = resize(role, container, latest);
                let for_size =
                    || matches!(resize, Resize::Restart).then(|| format!("Container {name} resize requires restart"));
                let failed = self.seen.failures.get(name).is_some_and(|failure| failure.remaining_s(self.now) > 0);
                if let Some(why) = checks.doomed.clone().or_else(image).or_else(for_size) {
                    let grace_s = checks.grace_s.unwrap_or_else(|| own_grace_s(self.spec));
                    let (id, container) = (latest.id.clone(), name.clone());
                    actions.push(Action::Kill { id, container, why, grace_s });
                } else if matches!(resize, Resize::InPlace) && !failed {
                    actions.push(Action::Resize { id: latest.id.clone(), container: name.clone() });
                }
                role == Role::Sidecar && checks.started
            }
            Stage::Ended(end) => {
                let done = role == Role::Init && (end.code == 0 || begun);
                let changed = is_other(container, latest) || resize(role, container, latest) == Resize::Restart;
                if role == Role::Main && changed {
                    actions.push(self.start(name, latest.number + 1, 0, 0));
                } else if !done && spec::restarts(self.spec, container, role, end.code) {
                    let (pause_s, remaining_s) = (backoff::after(latest), backoff::remaining_s(latest, self.now));
                    actions.push(self.start(name, latest.number + 1, pause_s, remaining_s));
                }
                done
            }
        }
    }

    /// The restart count of a container of which nothing is left: somebody may have removed the last one.
    fn number(&self, name: &str) -> u32 {
        let last = spec::told_of(self.pod, name).filter(|status| status.container_id.is_some());
        last.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0) + 1)
    }

    fn start(&self, name: &str, number: u32, pause_s: i64, remaining_s: i64) -> Action {
        let failed_s = self.seen.failures.get(name).map_or(0, |failure| failure.remaining_s(self.now));
        again(remaining_s.max(failed_s), Action::Start { container: name.to_owned(), number, pause_s })
    }
}

/// Whether the pod wants another image now than a container was made from.
fn is_other(container: &Container, made: &Attempt) -> bool {
    container.image.as_ref().is_some_and(|image| *image != made.image)
}

/// What is to be done about a container whose limits have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resize {
    /// They have not.
    No,
    /// It gets the new ones.
    InPlace,
    /// It is to start again with the new ones.
    Restart,
}

fn resize(role: Role, container: &Container, made: &Attempt) -> Resize {
    let changed = resources::changed(container, &made.resources);
    let restarts = |name: &&str| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| policy.resource_name == *name && policy.restart_policy == "RestartContainer")
    };
    match (role, changed.is_empty()) {
        (Role::Init | Role::Ephemeral, _) | (_, true) => Resize::No,
        _ if changed.iter().any(restarts) => Resize::Restart,
        _ => Resize::InPlace,
    }
}

fn forget(seen: &Seen, actions: &mut Vec<Action>) {
    for attempts in seen.attempts.values() {
        let ended = attempts.iter().rev().skip(KEPT).filter(|attempt| !attempt.is_live());
        actions.extend(ended.map(|attempt| Action::Forget(attempt.id.clone())));
    }
}

fn again(remaining_s: i64, action: Action) -> Action {
    if remaining_s > 0 { wake(remaining_s) } else { action }
}

fn wake(seconds: i64) -> Action {
    Action::Wake(Duration::from_secs(seconds.max(1).unsigned_abs()))
}
