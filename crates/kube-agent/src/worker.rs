//! The worker of one pod: it looks at what there is, has done what is to be done next, and tells the API how the pod is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    future::pending,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use model::{
    Container, ContainerId, State,
    container::{Exit, Phase},
    sandbox::{Stays, Up},
};
use runtime::log::reader::{Reader, Wish};
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};
use tracing::debug;

use crate::{
    Shared,
    event::Kind,
    identity::{self, label},
    job::{self, Job, Outcome},
    pod::{
        Action, Seen, backoff, next,
        seen::{Attempt, Checks, End, Failure, Sandboxed, Stage, Volumes},
        spec,
        status::{OWN, container_id, status},
    },
};

/// What a worker is told.
#[derive(Debug)]
pub enum Note {
    /// The pod is so now.
    Pod(Arc<Pod>),
    /// The API has it no more.
    Gone,
}

/// How often files that the cluster fills are looked after.
const REFRESH: Duration = Duration::from_secs(10);
/// How long after a failure of the API the status is told again.
const AGAIN: Duration = Duration::from_secs(1);
/// The most of a container's last words, bytes.
const LAST_WORDS_MAX: usize = 4096;
/// The most that is taken from the log instead: bytes, and lines.
const LAST_LOG_MAX: usize = 2048;
const LAST_LOG_LINES: usize = 80;

/// What comes back from what a worker has others do.
enum Back {
    Done(String, Outcome),
    Checked(ContainerId, Checks),
}

struct Worker {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    gone: bool,
    volumes: Volumes,
    paths: BTreeMap<String, PathBuf>,
    sandbox_failure: Option<Failure>,
    failures: BTreeMap<String, Failure>,
    checks: BTreeMap<ContainerId, Checks>,
    watched: BTreeMap<ContainerId, AbortHandle>,
    jobs: BTreeSet<String>,
    reported: Option<PodStatus>,
    clearing: bool,
    deleted: bool,
    back: mpsc::UnboundedSender<Back>,
}

/// Works on a pod until nothing is left of it.
pub async fn work(shared: Arc<Shared>, pod: Arc<Pod>, mut notes: mpsc::UnboundedReceiver<Note>) {
    let (back, mut comes_back) = mpsc::unbounded_channel();
    let mut changes = shared.engine.watch();
    let mut worker = Worker {
        shared,
        pod,
        gone: false,
        volumes: Volumes::default(),
        paths: BTreeMap::new(),
        sandbox_failure: None,
        failures: BTreeMap::new(),
        checks: BTreeMap::new(),
        watched: BTreeMap::new(),
        jobs: BTreeSet::new(),
        reported: None,
        clearing: false,
        deleted: false,
        back,
    };
    let mut refresh = Instant::now() + REFRESH;
    loop {
        let Some(wake) = worker.step().await else { break };
        let due = async move {
            match wake {
                Some(after) => tokio::time::sleep(after).await,
                None => pending().await,
            }
        };
        tokio::select! {
            note = notes.recv() => match note {
                Some(Note::Pod(pod)) => worker.renew(&pod),
                Some(Note::Gone) => worker.gone = true,
                // The agent ends.
                None => break,
            },
            Some(back) = comes_back.recv() => worker.take(back),
            changed = changes.changed() => if changed.is_err() { break },
            () = due => {}
            () = tokio::time::sleep_until(refresh) => {
                refresh = Instant::now() + REFRESH;
                if worker.volumes == Volumes::Ready && !worker.is_ending() {
                    worker.have_done(Action::Mount);
                }
            }
        }
    }
    worker.watched.values().for_each(AbortHandle::abort);
}

impl Worker {
    /// Looks, tells, and has done what is next. How long it may sleep at most; none when there is nothing left to do, ever.
    async fn step(&mut self) -> Option<Option<Duration>> {
        let now = Timestamp::now();
        let mut seen = self.look(now);
        self.watch_running(&seen);
        seen.checks.clone_from(&self.checks);
        let mut wake = self.tell(&seen, now).await;
        let actions = next(&self.pod, &seen, now);
        if (self.deleted || (self.gone && actions.is_empty())) && self.jobs.is_empty() {
            return None;
        }
        for action in actions {
            match action {
                Action::Wake(after) => wake = Some(wake.map_or(after, |known| known.min(after))),
                action => self.have_done(action),
            }
        }
        Some(wake)
    }

    fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Takes the pod as the API has it now. What it tells of this node may be older than what was last told, so that stays.
    fn renew(&mut self, pod: &Pod) {
        let mut pod = pod.clone();
        if let (Some(told), Some(known)) = (&self.reported, &mut pod.status) {
            let others = known.conditions.iter().flatten().filter(|condition| !OWN.contains(&condition.type_.as_str()));
            let own = told.conditions.iter().flatten().filter(|condition| OWN.contains(&condition.type_.as_str()));
            let conditions = own.chain(others).cloned().collect();
            let (qos_class, nominated_node_name) = (known.qos_class.take(), known.nominated_node_name.take());
            *known = PodStatus { conditions: Some(conditions), qos_class, nominated_node_name, ..told.clone() };
        }
        self.pod = Arc::new(pod);
    }

    /// Has something done, unless that is under way.
    fn have_done(&mut self, action: Action) {
        let name = job_name(&action);
        if !self.jobs.insert(name.clone()) {
            return;
        }
        self.clearing |= action == Action::Clear;
        let job = self.job();
        let back = self.back.clone();
        tokio::spawn(async move {
            let outcome = job.perform(action).await;
            // The worker has ended, and needs nothing any more.
            let _ = back.send(Back::Done(name, outcome));
        });
    }

    fn job(&self) -> Job {
        Job { shared: Arc::clone(&self.shared), pod: Arc::clone(&self.pod), volumes: self.paths.clone() }
    }

    fn take(&mut self, back: Back) {
        let (name, outcome) = match back {
            Back::Done(name, outcome) => (name, outcome),
            Back::Checked(id, checks) => return drop(self.checks.insert(id, checks)),
        };
        self.jobs.remove(&name);
        match outcome {
            Outcome::Mounted(Ok(paths)) => (self.volumes, self.paths) = (Volumes::Ready, paths),
            // What containers have already stays as it is.
            Outcome::Mounted(Err(_)) if self.volumes == Volumes::Ready => {}
            Outcome::Mounted(Err(failure)) => self.volumes = Volumes::Failed(failure),
            Outcome::Sandboxed(made) => self.sandbox_failure = made.err(),
            Outcome::Started(name, Ok(())) => drop(self.failures.remove(&name)),
            Outcome::Started(name, Err(mut failure)) => {
                if failure.reason == "ErrImagePull" {
                    let before = self.failures.get(&name).filter(|known| known.reason == failure.reason);
                    failure.pause_s = backoff::after_failure(before.map(|known| known.pause_s));
                }
                self.failures.insert(name, failure);
            }
            Outcome::Cleared => self.volumes = Volumes::Missing,
            Outcome::Deleted => self.deleted = true,
            Outcome::Seen => {}
        }
    }

    /// Looks at what there is of the pod.
    fn look(&self, now: Timestamp) -> Seen {
        let state = self.shared.engine.state();
        let (_, _, uid) = spec::names(&self.pod);
        let id = identity::sandbox(&uid);
        let sandbox = match state.sandboxes.get(&id) {
            Some(sandbox) if sandbox.up == Up::Up && sandbox.stays == Stays::UntilRemoved => {
                Sandboxed::Up { addresses: job::addresses(&self.shared, &state, &self.pod) }
            }
            Some(_) => Sandboxed::Down,
            None => self.sandbox_failure.clone().map_or(Sandboxed::Missing, Sandboxed::Failed),
        };
        Seen {
            gone: self.gone,
            volumes: self.volumes.clone(),
            sandbox,
            attempts: self.attempts(&state, now),
            failures: self.failures.clone(),
            checks: self.checks.clone(),
            host_ips: self.shared.node.addresses.clone(),
        }
    }

    fn attempts(&self, state: &State, now: Timestamp) -> BTreeMap<String, Vec<Attempt>> {
        let (_, _, uid) = spec::names(&self.pod);
        let mut attempts: BTreeMap<String, Vec<Attempt>> = BTreeMap::new();
        for container in state.residents_of(&identity::sandbox(&uid)) {
            let said = |label: &str| container.labels.get(label).map(String::as_str).unwrap_or_default();
            let number = said(label::NUMBER).parse().unwrap_or(0);
            let name = said(label::CONTAINER);
            let stage = match &container.phase {
                // Its job is under way, or is taken up again.
                Phase::Created => continue,
                Phase::Starting | Phase::Restarting { .. } => Stage::Starting,
                Phase::Running(run) | Phase::Paused(run) => {
                    Stage::Running { since: moment(run.started_ms).unwrap_or(now) }
                }
                Phase::Exited(exit) => Stage::Ended(self.end(container, name, number, exit)),
            };
            let attempt = Attempt {
                id: container.id.clone(),
                number,
                pause_s: said(label::PAUSE).parse().unwrap_or(0),
                image: container.image.name.clone(),
                image_id: container.image.id.clone(),
                stage,
            };
            attempts.entry(name.to_owned()).or_default().push(attempt);
        }
        attempts.values_mut().for_each(|attempts| attempts.sort_by_key(|attempt| attempt.number));
        attempts
    }

    fn end(&self, container: &Container, name: &str, number: u32, exit: &Exit) -> End {
        End {
            code: exit.code,
            oom: exit.oom_killed,
            started: moment(exit.started_ms).filter(|_| exit.started_ms > 0),
            finished: moment(exit.finished_ms).unwrap_or_default(),
            error: exit.error.clone(),
            message: self.last_words(container, name, number, exit.code),
        }
    }

    /// What a container left as its last words: in its file, or where the pod says so the end of its log.
    fn last_words(&self, container: &Container, name: &str, number: u32, code: i32) -> Option<String> {
        let (_, _, uid) = spec::names(&self.pod);
        let file = job::directories(&self.shared, &uid).last_words(name, number);
        let mut bytes = fs::read(file).unwrap_or_default();
        bytes.truncate(LAST_WORDS_MAX);
        if !bytes.is_empty() {
            return Some(String::from_utf8_lossy(&bytes).into_owned());
        }
        let pod_spec = spec::of(&self.pod);
        let policy = spec::container(&pod_spec, name).and_then(|(_, found)| found.termination_message_policy);
        if code == 0 || policy.as_deref() != Some("FallbackToLogsOnError") {
            return None;
        }
        let wish = Wish { tail: Some(LAST_LOG_LINES), ..Wish::default() };
        let mut reader = Reader::open(&self.shared.places.log(&container.id), wish).ok()?;
        let mut text = String::new();
        while let Ok(Some(entry)) = reader.next_now() {
            text.push_str(&entry.log);
        }
        let mut from = text.len().saturating_sub(LAST_LOG_MAX);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        Some(text[from..].to_owned()).filter(|text| !text.is_empty())
    }

    /// Has running containers asked how they are, and no others.
    fn watch_running(&mut self, seen: &Seen) {
        let pod_spec = spec::of(&self.pod);
        let ending = self.is_ending();
        let mut running = BTreeSet::new();
        for (name, attempt) in seen.live().filter(|(_, attempt)| matches!(attempt.stage, Stage::Running { .. })) {
            running.insert(attempt.id.clone());
            if self.watched.contains_key(&attempt.id) || ending {
                continue;
            }
            let Some((role, container)) = spec::container(&pod_spec, name) else { continue };
            let asked = self.job().asked(attempt.id.clone(), role, container);
            let (back, id) = (self.back.clone(), attempt.id.clone());
            let known = self.known_checks(&attempt.id);
            if let Some(known) = &known {
                self.checks.insert(attempt.id.clone(), known.clone());
            }
            let task =
                tokio::spawn(asked.watch(known, move |checks| drop(back.send(Back::Checked(id.clone(), checks)))));
            self.watched.insert(attempt.id.clone(), task.abort_handle());
        }
        self.watched.retain(|id, task| {
            let stays = running.contains(id) && !ending;
            if !stays {
                task.abort();
            }
            stays
        });
        self.checks.retain(|id, _| running.contains(id));
    }

    /// What the API knows of a container that an earlier agent had watched.
    fn known_checks(&self, id: &ContainerId) -> Option<Checks> {
        let id = container_id(id);
        let known = statuses(self.pod.status.as_ref()).find(|known| known.container_id.as_deref() == Some(&id))?;
        (known.started == Some(true)).then(|| Checks { started: true, ready: known.ready, ..Checks::default() })
    }

    /// Tells the API how the pod is, if that is news. When it must be told again.
    async fn tell(&mut self, seen: &Seen, now: Timestamp) -> Option<Duration> {
        // What is told of a pod that goes is how it ended, not how it is taken apart.
        if self.gone || self.deleted || (self.is_ending() && (self.clearing || seen.attempts.is_empty())) {
            return None;
        }
        let status = status(&self.pod, seen, now);
        if self.reported.as_ref() == Some(&status) {
            return None;
        }
        self.tell_waiting(&status);
        let (name, namespace, uid) = spec::names(&self.pod);
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), &namespace);
        let mut patch = serde_json::json!({ "metadata": { "uid": uid }, "status": status });
        // What is absent is not meant to stay as it was.
        for gone in ["reason", "message"] {
            let known = self
                .pod
                .status
                .as_ref()
                .and_then(|s| if gone == "reason" { s.reason.clone() } else { s.message.clone() });
            if known.is_some() && patch["status"].get(gone).is_none() {
                patch["status"][gone] = serde_json::Value::Null;
            }
        }
        match pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(patched) => {
                if patched.metadata.uid == self.pod.metadata.uid {
                    // What times it has now is what the next one goes on from.
                    let mut pod = (*self.pod).clone();
                    pod.status = patched.status;
                    self.pod = Arc::new(pod);
                }
                self.reported = Some(status);
                None
            }
            Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409 | 422) => {
                debug!(pod = name, %error, "the status of a pod is not taken");
                self.reported = Some(status);
                None
            }
            Err(error) => {
                debug!(pod = name, %error, "the status of a pod is told again");
                Some(AGAIN)
            }
        }
    }

    /// Tells of containers that begin to wait for their next start.
    fn tell_waiting(&self, status: &PodStatus) {
        let reason = |status: &ContainerStatus| status.state.clone()?.waiting?.reason;
        let (name, namespace, uid) = spec::names(&self.pod);
        for container in statuses(Some(status)) {
            let before = statuses(self.reported.as_ref()).find(|known| known.name == container.name).and_then(reason);
            let now = reason(container);
            if now == before {
                continue;
            }
            let words = match now.as_deref() {
                Some("CrashLoopBackOff") => {
                    format!("Back-off restarting failed container {} in pod {name}_{namespace}({uid})", container.name)
                }
                Some("ImagePullBackOff") => format!("Back-off pulling image \"{}\"", container.image),
                _ => continue,
            };
            let pod_spec = spec::of(&self.pod);
            let field =
                spec::container(&pod_spec, &container.name).map(|(role, _)| spec::field_path(role, &container.name));
            self.shared.recorder.tell(&self.pod, field, Kind::Warning, "BackOff", words);
        }
    }
}

fn statuses(status: Option<&PodStatus>) -> impl Iterator<Item = &ContainerStatus> {
    status.into_iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    })
}

/// What makes two actions the same one. A shorter time to end is another one.
fn job_name(action: &Action) -> String {
    match action {
        Action::Start { container, .. } => format!("start {container}"),
        Action::Kill { id, grace_s, .. } => format!("kill {id} {grace_s}"),
        Action::Forget(id) => format!("forget {id}"),
        other => format!("{other:?}"),
    }
}

fn moment(ms: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(ms).ok()
}
