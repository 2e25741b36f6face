//! A pod on a node of which only the times and facts are true.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, Pod},
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use kube_agent::pod::{
    Action, Seen, next, resources,
    seen::{Attempt, Checks, End, Failure, Refused, Sandboxed, Stage as Life, Volumes},
    spec, status,
};
use model::{ContainerId, container::Resources};

/// A pod, what is seen of it, and the time.
pub struct Stage {
    pod: Pod,
    seen: Seen,
    begun: Timestamp,
    now: Timestamp,
    made: u8,
}

impl Stage {
    pub fn new(pod: Pod) -> Self {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let seen = Seen { host_ips: vec!["192.0.2.1".parse().unwrap()], ..Seen::default() };
        Self { pod, seen, begun: now, now, made: 0 }
    }

    pub fn play(&mut self, line: &str) {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["after", seconds] => self.now += SignedDuration::from_secs(seconds.parse().unwrap()),
            ["volumes", "ready"] => self.seen.volumes = Volumes::Ready,
            ["volumes", "missing"] => self.seen.volumes = Volumes::Missing,
            ["volumes", "fail", why @ ..] => self.seen.volumes = Volumes::Failed(self.failure("FailedMount", why, 3)),
            ["sandbox", "down"] => self.seen.sandbox = Sandboxed::Down,
            ["sandbox", "missing"] => self.seen.sandbox = Sandboxed::Missing,
            ["sandbox", address] => self.seen.sandbox = Sandboxed::Up { addresses: vec![address.parse().unwrap()] },
            ["run", name] => self.run(name),
            ["ready", name] => self.check(name, Checks { started: true, ready: true, ..Checks::default() }),
            ["started", name] => self.check(name, Checks { started: true, ..Checks::default() }),
            ["doomed", name, why @ ..] => {
                self.check(name, Checks { started: true, doomed: Some(why.join(" ")), ..Checks::default() })
            }
            ["exit", name, code] => self.exit(name, code.parse().unwrap(), None, false),
            ["oom", name] => self.exit(name, 137, None, true),
            ["cannot", name, why @ ..] => {
                self.run(name);
                self.exit(name, 127, Some(why.join(" ")), false);
            }
            ["fail", name, reason, why @ ..] => {
                let failure = self.failure(reason, why, 10);
                self.seen.failures.insert((*name).to_owned(), failure);
            }
            ["forget", name] => drop(self.seen.attempts.get_mut(*name).unwrap().remove(0)),
            ["delete"] => {
                self.pod.metadata.deletion_timestamp = Some(Time(self.now + SignedDuration::from_secs(30)));
                self.pod.metadata.deletion_grace_period_seconds = Some(30);
            }
            ["image", name, image] => {
                let spec = self.pod.spec.as_mut().unwrap();
                let container = spec.containers.iter_mut().find(|container| container.name == *name).unwrap();
                container.image = Some((*image).to_owned());
            }
            ["cpu", name, quantity] => {
                let spec = self.pod.spec.as_mut().unwrap();
                let container = spec.containers.iter_mut().find(|container| container.name == *name).unwrap();
                let limits = [("cpu".to_owned(), Quantity((*quantity).to_owned()))].into();
                container.resources.get_or_insert_default().limits = Some(limits);
            }
            ["resized", name] => {
                let resources = limits_of(&self.pod, name);
                self.seen.attempts.get_mut(*name).unwrap().last_mut().unwrap().resources = resources;
            }
            ["gone"] => self.seen.gone = true,
            ["reject", why @ ..] => {
                self.seen.refused = Some(Refused::Rejected { reason: "OutOfcpu", message: why.join(" ") });
            }
            ["evict", why @ ..] => self.seen.refused = Some(Refused::Evicted { message: why.join(" ") }),
            ["cleared"] => {
                self.seen.attempts.clear();
                (self.seen.sandbox, self.seen.volumes) = (Sandboxed::Missing, Volumes::Missing);
            }
            other => panic!("no such step: {other:?}"),
        }
    }

    /// What is next, and how the pod is; the status is then the API's.
    pub fn tell(&mut self) -> String {
        let actions = next(&self.pod, &self.seen, self.now);
        let status = status(&self.pod, &self.seen, self.now);
        let mut text = String::new();
        let reason = status.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = status.message.as_ref().map(|message| format!(" {message}")).unwrap_or_default();
        writeln!(
            text,
            "  {}{reason}{message} {}",
            status.phase.as_deref().unwrap(),
            status.pod_ip.as_deref().unwrap_or("-")
        )
        .unwrap();
        for condition in status.conditions.iter().flatten() {
            let Time(at) = condition.last_transition_time.clone().unwrap();
            let since = at.duration_since(self.begun).as_secs();
            let reason = condition.reason.clone().unwrap_or_default();
            let message = condition.message.clone().unwrap_or_default();
            let line = format!("  {} {} since {since} {reason} {message}", condition.type_, condition.status);
            writeln!(text, "{}", line.trim_end()).unwrap();
        }
        for container in status.init_container_statuses.iter().chain(&status.container_statuses).flatten() {
            writeln!(text, "  {}", show(container)).unwrap();
        }
        for action in actions {
            writeln!(text, "  -> {}", spell(&action)).unwrap();
        }
        self.pod.status = Some(status);
        text
    }

    fn run(&mut self, name: &str) {
        self.made += 1;
        let attempts = self.seen.attempts.entry(name.to_owned()).or_default();
        let (number, pause_s) =
            attempts.last().map_or((0, 0), |last| (last.number + 1, kube_agent::pod::backoff::after(last)));
        let id = ContainerId::from_bytes([self.made; 32]);
        let stage = Life::Running { since: self.now };
        let image = image_of(&self.pod, name);
        let image_id = "sha256:1".to_owned();
        let resources = limits_of(&self.pod, name);
        attempts.push(Attempt { id, number, pause_s, image, image_id, resources, stage });
        self.seen.failures.remove(name);
    }

    fn exit(&mut self, name: &str, code: i32, error: Option<String>, oom: bool) {
        let attempt = self.seen.attempts.get_mut(name).unwrap().last_mut().unwrap();
        let Life::Running { since } = attempt.stage else { panic!("{name} does not run") };
        attempt.stage = Life::Ended(End { code, oom, started: Some(since), finished: self.now, error, message: None });
    }

    fn check(&mut self, name: &str, checks: Checks) {
        let id = self.seen.latest(name).unwrap().id.clone();
        self.seen.checks.insert(id, checks);
    }

    fn failure(&self, reason: &str, why: &[&str], pause_s: i64) -> Failure {
        Failure { reason: reason.to_owned(), message: why.join(" "), at: self.now, pause_s }
    }
}

fn image_of(pod: &Pod, name: &str) -> String {
    let spec = spec::of(pod);
    spec::container(&spec, name).and_then(|(_, container)| container.image).unwrap_or_default()
}

fn limits_of(pod: &Pod, name: &str) -> Resources {
    let spec = spec::of(pod);
    spec::container(&spec, name).map(|(_, container)| resources::limits(&container)).unwrap_or_default()
}

fn show(status: &ContainerStatus) -> String {
    let ready = if status.ready { " ready" } else { "" };
    let started = if status.started == Some(true) { " started" } else { "" };
    let last = status.last_state.as_ref().map(state).filter(|text| text != "nothing");
    let last = last.map(|last| format!(", before: {last}")).unwrap_or_default();
    let now = status.state.as_ref().map(state).unwrap_or_default();
    format!("{}: {now}{started}{ready}, restarts {}{last}", status.name, status.restart_count)
}

fn state(state: &ContainerState) -> String {
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_ref().map(|message| format!(" ({message})")).unwrap_or_default();
        return format!("waiting {}{message}", waiting.reason.as_deref().unwrap_or_default());
    }
    if let Some(ended) = &state.terminated {
        return format!("terminated {} {}", ended.reason.as_deref().unwrap_or_default(), ended.exit_code);
    }
    if state.running.is_some() { "running".to_owned() } else { "nothing".to_owned() }
}

fn spell(action: &Action) -> String {
    match action {
        Action::Mount => "mount".to_owned(),
        Action::MakeSandbox => "make the sandbox".to_owned(),
        Action::Start { container, number, pause_s } => format!("start {container} ({number}) after {pause_s} s"),
        Action::Kill { container, why, grace_s, .. } => format!("kill {container} in {grace_s} s: {why}"),
        Action::Resize { container, .. } => format!("resize {container}"),
        Action::Forget(id) => format!("forget {}", id.short()),
        Action::Release => "release the sandbox".to_owned(),
        Action::Clear => "clear".to_owned(),
        Action::Delete => "delete".to_owned(),
        Action::Wake(after) => format!("wake after {} s", after.as_secs()),
    }
}
