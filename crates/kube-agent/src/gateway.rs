//! The gateway's eyes: it watches Ingresses and what they name, and puts the table that follows in the place of the one before.
//!
//! The first table is there when all kinds have been listed; then every change is in the table as soon as it has been read. What is
//! wrong with an Ingress is told as an Event on it, once.

mod problems;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    path::Path,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt, Stream, StreamExt, future::ready, stream};
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use proxy::http::table::Table;
use serde::de::DeserializeOwned;
use thiserror::Error;

use self::problems::Problems;
use crate::{
    client::{GATEWAY, client},
    ingress::{Ingresses, Kind, Name, Object},
};

/// Why there is no client.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The file cannot be read.
    #[error("cannot read the kubeconfig {path}: {source}")]
    File {
        /// Where it was looked for.
        path: String,
        /// Why not.
        source: kube::config::KubeconfigError,
    },
    /// There is no service account here.
    #[error("no --kubeconfig was given, and this is no pod with a service account: {0}")]
    InCluster(#[from] kube::config::InClusterError),
    /// What either says cannot be used.
    #[error("cannot make a client of the Kubernetes API: {0}")]
    Client(#[from] kube::Error),
}

/// A client by a kubeconfig, or as the service account of the pod that this runs in.
///
/// # Errors
/// When neither can be used.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let config = match kubeconfig {
        Some(path) => {
            let wrong = |source| ConnectError::File { path: path.display().to_string(), source };
            let file = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrong)?
        }
        None => Config::incluster()?,
    };
    Ok(client(config, GATEWAY)?)
}

/// What a watch brings.
enum Seen {
    Put(Object),
    Gone(Kind, Name),
    /// A list begins; what is not in it is gone when it ends.
    Listing(Kind),
    Listed(Kind),
}

/// Keeps the table true for ever. `ready` is called once, when the first is complete.
pub async fn follow(client: Client, class: &str, table: Arc<ArcSwap<Table>>, ready: impl FnOnce()) {
    let mut seen = stream::select_all([
        watch(Api::<Ingress>::all(client.clone()), Kind::Ingress, "", |o| Object::Ingress(Box::new(o))).boxed(),
        watch(Api::<IngressClass>::all(client.clone()), Kind::Class, "", |o| Object::Class(Box::new(o))).boxed(),
        watch(Api::<Service>::all(client.clone()), Kind::Service, "", |o| Object::Service(Box::new(o))).boxed(),
        watch(Api::<EndpointSlice>::all(client.clone()), Kind::Slice, "", |o| Object::Slice(Box::new(o))).boxed(),
        watch(Api::<Secret>::all(client.clone()), Kind::Secret, "type=kubernetes.io/tls", |o| {
            Object::Secret(Box::new(o))
        })
        .boxed(),
    ]);
    let mut followed = Followed { ingresses: Ingresses::new(class), listing: BTreeMap::new(), listed: BTreeSet::new() };
    let mut ready = Some(ready);
    let mut problems = Problems::start(client);
    while let Some(first) = seen.next().await {
        followed.take(first);
        // What has come with it, so that a list is one change.
        while let Some(Some(more)) = seen.next().now_or_never() {
            followed.take(more);
        }
        if followed.listed.len() < KINDS {
            continue;
        }
        if let Some(next) = followed.ingresses.settle() {
            table.store(Arc::new(next));
            problems.tell(&followed.ingresses);
        }
        if let Some(ready) = ready.take() {
            ready();
        }
    }
}

const KINDS: usize = 5;

/// A watch that broke is begun again after this. Until then endpoints that left are still asked.
const AGAIN: Duration = Duration::from_millis(200);

/// The same pause each time.
struct Again;

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(AGAIN)
    }
}

impl Backoff for Again {
    fn reset(&mut self) {}
}

struct Followed {
    ingresses: Ingresses,
    /// What a list that is under way does not have yet.
    listing: BTreeMap<Kind, BTreeSet<Name>>,
    listed: BTreeSet<Kind>,
}

impl Followed {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Put(object) => {
                if let Some(missing) = self.listing.get_mut(&object.kind()) {
                    missing.remove(&object.name());
                }
                self.ingresses.put(object);
            }
            Seen::Gone(kind, name) => self.ingresses.remove(kind, &name),
            Seen::Listing(kind) => drop(self.listing.insert(kind, self.ingresses.names(kind))),
            Seen::Listed(kind) => {
                for name in self.listing.remove(&kind).unwrap_or_default() {
                    self.ingresses.remove(kind, &name);
                }
                self.listed.insert(kind);
            }
        }
    }
}

fn watch<K>(api: Api<K>, kind: Kind, fields: &str, object: fn(K) -> Object) -> impl Stream<Item = Seen> + Send + 'static
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default();
    let config = if fields.is_empty() { config } else { config.fields(fields) };
    let mut broken = false;
    watcher(api, config).backoff(Again).filter_map(move |event| {
        ready(match event {
            Ok(Event::Apply(found) | Event::InitApply(found)) => Some(Seen::Put(object(slim(found)))),
            Ok(Event::Delete(found)) => {
                Some(Seen::Gone(kind, (found.namespace().unwrap_or_default(), found.name_any())))
            }
            Ok(Event::Init) => Some(Seen::Listing(kind)),
            Ok(Event::InitDone) => {
                broken = false;
                Some(Seen::Listed(kind))
            }
            Err(error) => {
                if !std::mem::replace(&mut broken, true) {
                    tracing::warn!(%error, ?kind, "a watch broke; it is tried again");
                }
                None
            }
        })
    })
}

/// Without what nobody here reads.
fn slim<K: Resource>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}
