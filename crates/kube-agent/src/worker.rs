//! The worker of one pod: it looks at what there is, has done what is to be done next, and tells the API how the pod is.

mod look;
mod tell;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use model::ContainerId;
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, interval_at},
};

use crate::{
    Shared,
    event::Kind,
    identity,
    job::{Job, Outcome},
    news::News,
    pod::{
        Action, Seen, backoff, next,
        seen::{Checks, Failure, Refused, Stage, Volumes},
        spec,
        status::OWN,
        volume,
    },
};

/// What a worker is told.
#[derive(Debug)]
pub enum Note {
    /// The pod is so now.
    Pod(Arc<Pod>),
    /// The API has it no more.
    Gone,
    /// A ConfigMap or Secret that its volumes name has changed.
    Changed,
}

/// How often files are looked after that change with time: tokens.
const REFRESH: Duration = Duration::from_secs(60);
/// How often volumes are measured, as kubelet does.
const MEASURE: Duration = Duration::from_secs(10);

/// What comes back from what a worker has others do.
enum Back {
    Done(String, Outcome),
    Checked(ContainerId, Checks),
}

struct Worker {
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    gone: bool,
    refused: Option<Refused>,
    volumes: Volumes,
    /// Something has changed since they were last asked to be made ready.
    stale: bool,
    paths: BTreeMap<String, PathBuf>,
    sandbox_failure: Option<Failure>,
    failures: BTreeMap<String, Failure>,
    checks: BTreeMap<ContainerId, Checks>,
    watched: BTreeMap<ContainerId, AbortHandle>,
    jobs: BTreeSet<String>,
    reported: Option<PodStatus>,
    /// Whether its containers are asked only whether they are ready still.
    ending: watch::Sender<bool>,
    clearing: bool,
    deleted: bool,
    back: mpsc::UnboundedSender<Back>,
}

/// Works on a pod until nothing is left of it. One that the node does not take is only told to be so.
pub async fn work(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    refused: Option<Refused>,
    mut notes: mpsc::UnboundedReceiver<Note>,
) {
    let (back, mut comes_back) = mpsc::unbounded_channel();
    let mut news = News::of(&shared.engine, identity::sandbox(&spec::names(&pod).2));
    let mut worker = Worker {
        shared,
        pod,
        gone: false,
        refused: None,
        volumes: Volumes::default(),
        stale: false,
        paths: BTreeMap::new(),
        sandbox_failure: None,
        failures: BTreeMap::new(),
        checks: BTreeMap::new(),
        watched: BTreeMap::new(),
        jobs: BTreeSet::new(),
        reported: None,
        ending: watch::Sender::new(false),
        clearing: false,
        deleted: false,
        back,
    };
    if let Some(refused) = refused {
        worker.refuse(refused);
    }
    let mut refresh = interval_at(Instant::now() + REFRESH, REFRESH);
    let mut measure = interval_at(Instant::now() + MEASURE, MEASURE);
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
                Some(Note::Changed) => worker.remount(),
                // The agent ends.
                None => break,
            },
            Some(back) = comes_back.recv() => worker.take(back),
            happened = news.next() => if happened.is_err() { break },
            () = due => {}
            _ = refresh.tick() => worker.remount(),
            _ = measure.tick() => worker.measure(),
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
                action => {
                    self.have_done(action);
                }
            }
        }
        Some(wake)
    }

    fn is_ending(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Takes note that the node does not run the pod, or not any longer.
    fn refuse(&mut self, refused: Refused) {
        self.shared.recorder.tell(&self.pod, None, Kind::Warning, refused.reason(), refused.message());
        self.refused = Some(refused);
    }

    /// Has its volumes made ready again, with what they are made of now.
    fn remount(&mut self) {
        match self.volumes {
            _ if self.is_ending() => {}
            Volumes::Ready => {
                self.stale = !self.have_done(Action::Mount);
            }
            // Now it may go well.
            Volumes::Failed(_) => self.volumes = Volumes::Missing,
            Volumes::Missing => self.stale = true,
        }
    }

    fn measure(&mut self) {
        let runs = self.volumes == Volumes::Ready && !self.is_ending() && self.refused.is_none();
        if runs && !volume::limits(&self.pod).is_empty() {
            let job = self.job();
            self.have("measure".to_owned(), async move { Outcome::Measured(job.measure().await) });
        }
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
        let said = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
        let says_other = said(&pod) != said(&self.pod) && volume::tells_of_pod(&pod);
        self.pod = Arc::new(pod);
        if says_other {
            self.remount();
        }
    }

    /// Has something done, unless that is under way: whether it begins now.
    fn have_done(&mut self, action: Action) -> bool {
        self.clearing |= action == Action::Clear;
        let job = self.job();
        self.have(job_name(&action), job.perform(action))
    }

    fn have(&mut self, name: String, work: impl Future<Output = Outcome> + Send + 'static) -> bool {
        let begins = self.jobs.insert(name.clone());
        if begins {
            let back = self.back.clone();
            tokio::spawn(async move {
                let outcome = work.await;
                // The worker has ended, and needs nothing any more.
                let _ = back.send(Back::Done(name, outcome));
            });
        }
        begins
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
            Outcome::Mounted(Ok(paths)) => {
                (self.volumes, self.paths) = (Volumes::Ready, paths);
                if std::mem::take(&mut self.stale) {
                    self.remount();
                }
            }
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
            Outcome::Measured(Some(message)) if self.refused.is_none() => self.refuse(Refused::Evicted { message }),
            Outcome::Measured(_) => {}
            Outcome::Cleared => self.volumes = Volumes::Missing,
            Outcome::Deleted => self.deleted = true,
            Outcome::Seen => {}
        }
    }

    /// Has running containers asked how they are, and no others. Those of a pod that goes are asked only whether they are ready still.
    fn watch_running(&mut self, seen: &Seen) {
        let pod_spec = spec::of(&self.pod);
        let ending = self.is_ending();
        self.ending.send_if_modified(|known| std::mem::replace(known, ending) != ending);
        let mut running = BTreeSet::new();
        for (name, attempt) in seen.live().filter(|(_, attempt)| matches!(attempt.stage, Stage::Running { .. })) {
            running.insert(attempt.id.clone());
            if self.watched.contains_key(&attempt.id) || ending {
                continue;
            }
            let Some((role, container)) = spec::container(&pod_spec, name) else { continue };
            let asked = self.job().asked(attempt.id.clone(), role, container, self.ending.subscribe());
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
            let stays = running.contains(id);
            if !stays {
                task.abort();
            }
            stays
        });
        self.checks.retain(|id, _| running.contains(id));
    }
}

/// What makes two actions the same one. A shorter time to end is another one.
fn job_name(action: &Action) -> String {
    match action {
        Action::Start { container, .. } => format!("start {container}"),
        Action::Kill { id, grace_s, .. } => format!("kill {id} {grace_s}"),
        Action::Resize { id, .. } => format!("resize {id}"),
        Action::Forget(id) => format!("forget {id}"),
        other => format!("{other:?}"),
    }
}
