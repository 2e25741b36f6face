//! A pod's status in Kubernetes' words.

mod condition;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, HostIP, Pod, PodIP, PodSpec, PodStatus, ResourceRequirements,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use model::ContainerId;

pub use condition::OWN;

use super::{
    backoff,
    next::{deadline_s, has_ended, init_failed},
    resources,
    seen::{Attempt, End, Failure, Refused, Sandboxed, Seen, Stage, Volumes},
    spec::{self, RestartPolicy, Role},
};

/// What is said of a container that ran and is not there any more.
const LOST: &str = "The container could not be located when the pod was terminated";
/// How long the reason of a failed pull stands before that it is waited with the next one, seconds.
const ERROR_SHOWN_S: i64 = 3;

/// The status of a pod.
pub fn status(pod: &Pod, seen: &Seen, now: Timestamp) -> PodStatus {
    // As exact as it is written.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let spec = spec::of(pod);
    let before = pod.status.clone().unwrap_or_default();
    let view = View { pod, spec: &spec, seen, now, before: &before };
    let inits: Vec<_> = spec::inits(&spec).map(|(role, container)| view.container(role, container)).collect();
    let mains: Vec<_> = spec.containers.iter().map(|container| view.container(Role::Main, container)).collect();
    let ephemerals = spec::ephemerals(&spec);
    let ephemerals: Vec<_> = ephemerals.iter().map(|container| view.container(Role::Ephemeral, container)).collect();
    if let Some(Refused::Rejected { reason, message }) = &seen.refused {
        return PodStatus {
            phase: Some("Failed".to_owned()),
            reason: Some((*reason).to_owned()),
            message: Some(format!("Pod was rejected: {message}")),
            start_time: before.start_time.clone().or(Some(Time(now))),
            ..before
        };
    }
    let past_deadline = deadline_s(pod, now).is_some_and(|remaining_s| remaining_s <= 0);
    let (phase, reason, message) = match before.phase.as_deref() {
        // What has ended stays so.
        Some(phase @ ("Succeeded" | "Failed")) => (phase, before.reason.clone(), before.message.clone()),
        _ if let Some(Refused::Evicted { message }) = &seen.refused => {
            ("Failed", Some("Evicted".to_owned()), Some(message.clone()))
        }
        _ if past_deadline && seen.live().next().is_none() => (
            "Failed",
            Some("DeadlineExceeded".to_owned()),
            Some("Pod was active on the node longer than the specified deadline".to_owned()),
        ),
        _ => (view.phase(&inits, &mains), None, None),
    };
    let addresses = match &seen.sandbox {
        Sandboxed::Up { addresses } => addresses.iter().map(ToString::to_string).collect(),
        _ => before.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect::<Vec<_>>(),
    };
    let host_ips: Vec<_> = seen.host_ips.iter().map(ToString::to_string).collect();
    PodStatus {
        conditions: Some(view.conditions(phase, &inits, &mains)),
        container_statuses: Some(mains),
        ephemeral_container_statuses: (!ephemerals.is_empty()).then_some(ephemerals),
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(host_ips.into_iter().map(|ip| HostIP { ip }).collect()),
        pod_ip: addresses.first().cloned(),
        pod_ips: (!addresses.is_empty()).then(|| addresses.into_iter().map(|ip| PodIP { ip }).collect()),
        phase: Some(phase.to_owned()),
        reason,
        message,
        start_time: before.start_time.clone().or(Some(Time(now))),
        observed_generation: pod.metadata.generation,
        qos_class: before.qos_class.clone(),
        nominated_node_name: before.nominated_node_name.clone(),
        ..PodStatus::default()
    }
}

struct View<'a> {
    pod: &'a Pod,
    spec: &'a PodSpec,
    seen: &'a Seen,
    now: Timestamp,
    before: &'a PodStatus,
}

impl View<'_> {
    fn container(&self, role: Role, container: &Container) -> ContainerStatus {
        let name = &container.name;
        let attempts = self.seen.attempts.get(name).map(Vec::as_slice).unwrap_or_default();
        let latest = attempts.last();
        let (state, last) = self.states(role, container, attempts);
        let checks = self.seen.checks_of(name);
        let runs = state.running.is_some();
        let ready = match role {
            Role::Init => state.terminated.as_ref().is_some_and(|ended| ended.exit_code == 0),
            Role::Sidecar | Role::Main => runs && checks.started && checks.ready,
            Role::Ephemeral => false,
        };
        let image_id = latest.map(|attempt| attempt.image_id.clone()).unwrap_or_default();
        // Somebody may have removed the last one: the next one counts on from what was told of it.
        let told = || spec::told_of(self.pod, name);
        let number = latest.map(|attempt| i32::try_from(attempt.number).unwrap_or(i32::MAX));
        ContainerStatus {
            name: name.clone(),
            state: Some(state),
            last_state: Some(last.unwrap_or_default()),
            ready,
            started: Some(runs && (role == Role::Init || checks.started)),
            restart_count: number.or_else(|| Some(told()?.restart_count)).unwrap_or_default(),
            image: container.image.clone().unwrap_or_default(),
            resources: self.resources(container, latest),
            image_id,
            container_id: latest.map(|attempt| container_id(&attempt.id)).or_else(|| told()?.container_id.clone()),
            ..ContainerStatus::default()
        }
    }

    /// What a container was given: what it has in the pod, once that is so.
    fn resources(&self, container: &Container, latest: Option<&Attempt>) -> Option<ResourceRequirements> {
        match latest {
            Some(latest) if !resources::changed(container, &latest.resources).is_empty() => {
                spec::told_of(self.pod, &container.name)?.resources.clone()
            }
            _ => container.resources.clone(),
        }
    }

    /// What a container does now, and how it ended before.
    fn states(
        &self,
        role: Role,
        container: &Container,
        attempts: &[Attempt],
    ) -> (ContainerState, Option<ContainerState>) {
        let Some((latest, older)) = attempts.split_last() else {
            return (self.not_made(role, &container.name), self.lost(&container.name));
        };
        let previous = || {
            let older = older.last().and_then(|attempt| Some(ended(attempt.end()?, &attempt.id)));
            older.or_else(|| self.lost(&container.name).filter(|_| latest.number > 0))
        };
        match &latest.stage {
            Stage::Starting => (waiting("ContainerCreating", None), previous()),
            Stage::Running { since } => {
                let running = Some(ContainerStateRunning { started_at: Some(Time(*since)) });
                (ContainerState { running, ..ContainerState::default() }, previous())
            }
            Stage::Ended(end) => {
                let now = ended(end, &latest.id);
                match self.wait_for_restart(role, container, latest, end) {
                    Some(state) => (state, Some(now)),
                    None => (now, previous()),
                }
            }
        }
    }

    /// What is waited for before a container that has ended starts again.
    fn wait_for_restart(
        &self,
        role: Role,
        container: &Container,
        latest: &Attempt,
        end: &End,
    ) -> Option<ContainerState> {
        let stays = self.is_ending() || has_ended(self.spec, self.seen);
        if stays || !spec::restarts(self.spec, container, role, end.code) {
            return None;
        }
        let failure = self.seen.failures.get(&container.name);
        if let Some(failure) = failure.filter(|failure| failure.reason != "ResizeError") {
            return Some(self.failed(failure, container));
        }
        let (name, namespace, uid) = spec::names(self.pod);
        (backoff::remaining_s(latest, self.now) > 0).then(|| {
            let message = format!(
                "back-off {} restarting failed container={} pod={name}_{namespace}({uid})",
                spell(backoff::after(latest)),
                container.name
            );
            waiting("CrashLoopBackOff", Some(message))
        })
    }

    /// The last that was told of a container of which nothing is left here: somebody may have removed it.
    fn lost(&self, name: &str) -> Option<ContainerState> {
        let told = spec::told_of(self.pod, name)?;
        let is_here = |id: &str| self.seen.attempts.get(name).into_iter().flatten().any(|a| container_id(&a.id) == id);
        let id = told.container_id.as_deref().filter(|id| !is_here(id));
        let state = told.state.as_ref()?;
        match (&state.running, &state.terminated, id) {
            (Some(running), _, Some(id)) => {
                let terminated = Some(ContainerStateTerminated {
                    container_id: Some(id.to_owned()),
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".to_owned()),
                    message: Some(LOST.to_owned()),
                    started_at: running.started_at.clone(),
                    finished_at: Some(Time(self.now)),
                    signal: None,
                });
                Some(ContainerState { terminated, ..ContainerState::default() })
            }
            (None, Some(_), Some(_)) => Some(state.clone()),
            _ => told.last_state.clone().filter(|last| last.terminated.is_some()),
        }
    }

    fn not_made(&self, role: Role, name: &str) -> ContainerState {
        let container = spec::container(self.spec, name).map(|(_, container)| container);
        match (self.seen.failures.get(name), container) {
            (Some(failure), Some(container)) => self.failed(failure, &container),
            _ if role == Role::Main && self.initialized().is_err() => waiting("PodInitializing", None),
            _ if matches!(role, Role::Init | Role::Sidecar) && self.is_behind(name) => waiting("PodInitializing", None),
            _ => waiting("ContainerCreating", None),
        }
    }

    fn failed(&self, failure: &Failure, container: &Container) -> ContainerState {
        let shown_s = failure.pause_s - failure.remaining_s(self.now);
        if failure.reason == "ErrImagePull" && shown_s >= ERROR_SHOWN_S {
            let image = container.image.as_deref().unwrap_or_default();
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failure.message);
            return waiting("ImagePullBackOff", Some(message));
        }
        waiting(&failure.reason, Some(failure.message.clone()))
    }

    /// Whether an init container waits for one before it.
    fn is_behind(&self, name: &str) -> bool {
        let before = spec::inits(self.spec).take_while(|(_, container)| container.name != name);
        before.into_iter().any(|(role, container)| !self.is_past(role, container))
    }

    fn is_past(&self, role: Role, container: &Container) -> bool {
        match role {
            Role::Sidecar => self.seen.checks_of(&container.name).started,
            _ => self.seen.latest(&container.name).and_then(Attempt::end).is_some_and(|end| end.code == 0),
        }
    }

    /// Whether the init containers are past; else which are not.
    fn initialized(&self) -> Result<(), Vec<&str>> {
        // The main ones only ever start after them.
        if self.spec.containers.iter().any(|container| self.seen.latest(&container.name).is_some()) {
            return Ok(());
        }
        let not = spec::inits(self.spec).filter(|(role, container)| !self.is_past(*role, container));
        let not: Vec<_> = not.map(|(_, container)| container.name.as_str()).collect();
        if not.is_empty() { Ok(()) } else { Err(not) }
    }

    fn is_ending(&self) -> bool {
        self.seen.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn phase(&self, inits: &[ContainerStatus], mains: &[ContainerStatus]) -> &'static str {
        let lives = self.seen.live().next().is_some();
        if init_failed(self.spec, self.seen).is_some() {
            return if lives { "Pending" } else { "Failed" };
        }
        if self.initialized().is_err() {
            let never = inits.iter().all(|status| status.state.as_ref().is_none_or(|state| state.running.is_none()));
            return if self.is_ending() && never && self.seen.volumes != Volumes::Missing {
                "Failed"
            } else {
                "Pending"
            };
        }
        let state = |status: &ContainerStatus| status.state.clone().unwrap_or_default();
        let last = |status: &ContainerStatus| status.last_state.clone().unwrap_or_default();
        if mains.iter().any(|status| state(status).waiting.is_some() && last(status).terminated.is_none()) {
            return "Pending";
        }
        if mains.iter().any(|status| state(status).running.is_some()) || lives {
            return "Running";
        }
        let failed = |status: &ContainerStatus| {
            let ended = state(status).terminated.or(last(status).terminated);
            ended.is_some_and(|ended| ended.exit_code != 0)
        };
        let any_failed = mains.iter().any(failed);
        match (self.is_ending(), spec::restart_policy(self.spec)) {
            (false, RestartPolicy::Always) => "Running",
            (false, RestartPolicy::OnFailure) if any_failed => "Running",
            _ if any_failed => "Failed",
            _ => "Succeeded",
        }
    }
}

/// The identity of a container as the API shows it.
pub fn container_id(id: &ContainerId) -> String {
    format!("linkspan://{id}")
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message });
    ContainerState { waiting, ..ContainerState::default() }
}

fn ended(end: &End, id: &ContainerId) -> ContainerState {
    let reason = match end {
        End { error: Some(_), .. } => "StartError",
        End { oom: true, .. } => "OOMKilled",
        End { code: 0, .. } => "Completed",
        _ => "Error",
    };
    // A container that could not be started has no code of its own.
    let exit_code = if end.error.is_some() { 128 } else { end.code };
    let terminated = Some(ContainerStateTerminated {
        container_id: Some(container_id(id)),
        exit_code,
        reason: Some(reason.to_owned()),
        message: end.error.clone().or(end.message.clone()),
        started_at: Some(Time(end.started.unwrap_or(Timestamp::UNIX_EPOCH))),
        finished_at: Some(Time(end.finished)),
        signal: None,
    });
    ContainerState { terminated, ..ContainerState::default() }
}

/// Seconds as Go spells durations: `10s`, `1m20s`, `5m0s`.
fn spell(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}
