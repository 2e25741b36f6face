//! The pods of this node: a worker for each, for as long as there is something to do for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::watcher::{self, Event, watcher},
};
use model::sandbox::Stays;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::{info, warn};

use crate::{
    Shared,
    follow::Followed,
    identity,
    identity::label,
    job,
    pod::{admit::admit, seen::Refused, spec},
    worker::{self, Note},
};

/// The pods of this node as the API last had them, by uid.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<BTreeMap<String, Arc<Pod>>>>);

impl Known {
    /// All of them.
    pub fn all(&self) -> Vec<Arc<Pod>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The one of this name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let is_it = |pod: &Arc<Pod>| {
            pod.metadata.name.as_deref() == Some(name) && pod.metadata.namespace.as_deref() == Some(namespace)
        };
        self.all().into_iter().find(is_it)
    }

    fn put(&self, uid: &str, pod: &Arc<Pod>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), Arc::clone(pod));
    }

    fn remove(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

struct Pods {
    shared: Arc<Shared>,
    known: Known,
    notes: HashMap<String, mpsc::UnboundedSender<Note>>,
    workers: JoinSet<String>,
    followed: Followed,
    /// Those that this node does not take.
    rejected: BTreeSet<String>,
    /// Those of a list that is not complete yet.
    listed: Option<Vec<Pod>>,
}

/// How long after a failure of the API it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the pods of this node.
pub async fn follow(shared: Arc<Shared>, known: Known) {
    let api: Api<Pod> = Api::all(shared.client.clone());
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", shared.node.name));
    let mut pods = Pods {
        followed: Followed::new(shared.client.clone()),
        shared,
        known,
        notes: HashMap::new(),
        workers: JoinSet::new(),
        rejected: BTreeSet::new(),
        listed: None,
    };
    let mut events = watcher(api, config).boxed();
    loop {
        tokio::select! {
            event = events.try_next() => match event {
                Ok(Some(event)) => pods.take(event).await,
                Ok(None) => return,
                Err(error) => {
                    warn!(%error, "the pods of this node are not told; it is asked again");
                    tokio::time::sleep(AGAIN).await;
                }
            },
            Some(Ok(uid)) = pods.workers.join_next() => pods.is_done(&uid),
        }
    }
}

impl Pods {
    async fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listed = Some(Vec::new()),
            Event::InitApply(pod) => self.listed.get_or_insert_default().push(pod),
            Event::InitDone => self.complete().await,
            Event::Apply(pod) => self.apply(pod),
            Event::Delete(pod) => self.gone(&spec::names(&pod).2),
        }
    }

    fn apply(&mut self, pod: Pod) {
        let (_, _, uid) = spec::names(&pod);
        let pod = Arc::new(pod);
        if let Some(notes) = self.notes.get(&uid)
            && notes.send(Note::Pod(Arc::clone(&pod))).is_ok()
        {
            self.known.put(&uid, &pod);
            return;
        }
        let refused = self.admit(&pod, &uid).err();
        self.known.put(&uid, &pod);
        let (notes, told) = mpsc::unbounded_channel();
        match refused {
            Some(_) => drop(self.rejected.insert(uid.clone())),
            None => self.followed.follow(&pod, &notes),
        }
        self.notes.insert(uid.clone(), notes);
        let shared = Arc::clone(&self.shared);
        self.workers.spawn(async move {
            worker::work(shared, pod, refused, told).await;
            uid
        });
    }

    /// Whether the node takes a pod. One that it has taken before stays.
    fn admit(&self, pod: &Pod, uid: &str) -> Result<(), Refused> {
        let is_taken = is_known(pod) || self.shared.engine.state().sandboxes.contains_key(&identity::sandbox(uid));
        if is_taken || is_over(pod) || pod.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut others = self.known.all();
        let counts = |other: &Pod| !is_over(other) && other.metadata.uid.as_deref() != Some(uid);
        others.retain(|other| counts(other) && !self.rejected.contains(&spec::names(other).2));
        admit(pod, &others, self.shared.capacity)
    }

    /// Nothing is left to do for a pod.
    fn is_done(&mut self, uid: &str) {
        self.notes.remove(uid);
        self.rejected.remove(uid);
        self.followed.forget(uid);
    }

    fn gone(&mut self, uid: &str) {
        self.known.remove(uid);
        if let Some(notes) = self.notes.get(uid) {
            // A worker that has ended left nothing.
            let _ = notes.send(Note::Gone);
        }
    }

    /// The list is complete: what is here of pods that it does not have is left from before.
    async fn complete(&mut self) {
        let Some(mut pods) = self.listed.take() else { return };
        let listed: BTreeSet<_> = pods.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        // Those that run here have their place; of the others the oldest comes first.
        pods.sort_by_key(|pod| (!is_known(pod), pod.metadata.creation_timestamp.clone()));
        pods.into_iter().for_each(|pod| self.apply(pod));
        let away: Vec<_> = self.notes.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        away.iter().for_each(|uid| self.gone(uid));
        for uid in self.left_behind(&listed) {
            info!(uid, "removing what is left of a pod that is gone");
            job::clear(&self.shared, &uid).await;
        }
        self.sweep_sandboxes(&listed).await;
    }

    /// The uids of pods of which there is something here, and which nobody works on.
    fn left_behind(&self, listed: &BTreeSet<String>) -> BTreeSet<String> {
        let state = self.shared.engine.state();
        let labelled = state.containers.values().filter_map(|container| container.labels.get(label::UID).cloned());
        let places = [self.shared.places.data_root.join("pods"), self.shared.places.run_dir.join("pods")];
        let entries = places.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
        let named = entries.filter_map(|entry| entry.file_name().into_string().ok());
        labelled.chain(named).filter(|uid| !listed.contains(uid) && !self.notes.contains_key(uid)).collect()
    }

    /// A sandbox without containers says by its identity alone whose it is.
    async fn sweep_sandboxes(&self, listed: &BTreeSet<String>) {
        let ours: BTreeSet<_> = listed.iter().chain(self.notes.keys()).map(|uid| identity::sandbox(uid)).collect();
        let state = self.shared.engine.state();
        let stays = state.sandboxes.values().filter(|sandbox| sandbox.stays == Stays::UntilRemoved);
        for sandbox in stays.filter(|sandbox| !ours.contains(&sandbox.id)) {
            let removal = model::Command::RemoveSandbox(sandbox.id.clone());
            if let Err(error) = self.shared.engine.submit(removal).await {
                warn!(%error, "a pod's sandbox that nobody needs is not removed");
            }
        }
    }
}

/// Whether a node has told of the pod.
fn is_known(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
