//! The ConfigMaps and Secrets that the volumes of this node's pods name: each is watched for as long as a pod needs it, and the workers
//! of those pods are told when it changes. They fetch it themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Pod, Secret},
};
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc::UnboundedSender, task::AbortHandle};
use tracing::debug;

use crate::{
    pod::{spec, volume},
    worker::Note,
};

/// How long after a failure of the API it is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is followed, and for whom.
#[derive(Clone)]
pub struct Followed {
    client: Client,
    watches: Arc<Mutex<BTreeMap<Name, Watch>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: Kind,
    namespace: String,
    name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ConfigMap,
    Secret,
}

/// A watch of one object. It ends with the last pod that needs it.
struct Watch {
    /// Where the workers of pods are told, by the pod's uid.
    told: BTreeMap<String, UnboundedSender<Note>>,
    task: AbortHandle,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Followed {
    /// Nothing is followed yet.
    pub fn new(client: Client) -> Self {
        Self { client, watches: Arc::default() }
    }

    /// Follows what the pod's volumes name now, for as long as it is not let go of.
    pub fn follow(&self, pod: &Pod, notes: &UnboundedSender<Note>) {
        let (_, namespace, uid) = spec::names(pod);
        let (maps, secrets) = volume::references(pod);
        let named = |kind, names: BTreeSet<String>| {
            let namespace = namespace.clone();
            names.into_iter().map(move |name| Name { kind, namespace: namespace.clone(), name })
        };
        let mut watches = self.lock();
        for name in named(Kind::ConfigMap, maps).chain(named(Kind::Secret, secrets)) {
            let begin = || Watch { told: BTreeMap::new(), task: self.watch(&name) };
            watches.entry(name.clone()).or_insert_with(begin).told.insert(uid.clone(), notes.clone());
        }
    }

    /// Lets go of what only this pod needed.
    pub fn forget(&self, uid: &str) {
        self.lock().retain(|_, watch| {
            watch.told.remove(uid);
            !watch.told.is_empty()
        });
    }

    fn watch(&self, name: &Name) -> AbortHandle {
        let (followed, name) = (self.clone(), name.clone());
        let task = match name.kind {
            Kind::ConfigMap => tokio::spawn(async move { followed.watch_of::<ConfigMap>(name).await }),
            Kind::Secret => tokio::spawn(async move { followed.watch_of::<Secret>(name).await }),
        };
        task.abort_handle()
    }

    async fn watch_of<K>(self, name: Name)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &name.namespace);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", name.name));
        let mut events = watcher(api, config).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_)) => self.tell(&name),
                Ok(Event::Init | Event::InitApply(_)) => {}
                Err(error) => {
                    debug!(?name, %error, "changes are not told; it is asked again");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    fn tell(&self, name: &Name) {
        for notes in self.lock().get(name).into_iter().flat_map(|watch| watch.told.values()) {
            // The worker has ended, and needs nothing any more.
            let _ = notes.send(Note::Changed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
