//! Services and their endpoints: what the API tells of them becomes reports of the model, many at once and none held back. What is wrong
//! with an object harms that object only.
//!
//! What kube-proxy tells of itself is told here under its names and at its ports: `health` and `metrics`, and at the ports that Services
//! have for it how many endpoints are here, `check_ports`.

mod check_ports;
mod health;
mod metrics;
mod port;
mod progress;
mod read;
mod refused;
mod told;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::Engine;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use jiff::Timestamp;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use model::{
    Command, State,
    service::{Condition, EndpointSlice, NamespacedName, Report, ServiceReport, ServiceWish, Unready},
};
use tokio::sync::oneshot;
use tracing::warn;

use self::{
    check_ports::CheckPorts,
    progress::Progress,
    read::{Node, ZONE, name_of, slice, wish},
};
use crate::{NodeSettings, Shared};

/// How long after a failure of the API, or of the engine, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long until a port that somebody else has is tried again.
const PORT_AGAIN: Duration = Duration::from_secs(5);
/// How many objects are reported at a time at most, once the first lists were.
const BATCH_MAX: usize = 1024;

/// The longest that is waited until services have let go of a pod.
const LEAVING: Duration = Duration::from_secs(2);
/// When an object of endpoints was last changed, and so when its change should have been in effect.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Follows services and endpoint slices, and tells how far it is. `served` is told when those that the API had first are in effect.
pub(crate) async fn run(shared: Arc<Shared>, sources: Sources, served: oneshot::Sender<()>) {
    let progress = Arc::new(Progress::default());
    tokio::join!(
        follow(&shared, &progress, sources, served),
        health::serve(&shared, &progress),
        metrics::serve(&shared, &progress),
        refused::tell(&shared),
    );
}

async fn follow(shared: &Arc<Shared>, progress: &Arc<Progress>, mut sources: Sources, served: oneshot::Sender<()>) {
    let (mut check_ports, mut served) = (CheckPorts::new(shared, progress), Some(served));
    loop {
        let (report, triggered) = tokio::select! {
            report = sources.report() => report,
            // The report goes on being made after it.
            () = tokio::time::sleep(PORT_AGAIN), if check_ports.is_short() => {
                check_ports.open_missing().await;
                continue;
            }
        };
        check_ports.follow(&report.services).await;
        submit(shared, progress, report, &triggered).await;
        // Nobody need wait for it.
        let _ = served.take().map(|served| served.send(()));
    }
}

/// Services and endpoint slices, as the API tells of them.
pub(crate) struct Sources {
    services: Source<told::Service, ServiceWish>,
    slices: Source<told::EndpointSlice, EndpointSlice>,
    node: Node,
}

impl Sources {
    /// Those of the API, as the node sees them.
    pub(crate) fn new(client: &Client, node: &NodeSettings) -> Self {
        let node = Node { name: node.name.clone(), zone: node.labels.get(ZONE).cloned() };
        Self { services: Source::new(client), slices: Source::new(client), node }
    }

    /// Takes what comes until something else is ready.
    pub(crate) async fn until<T>(&mut self, ready: impl Future<Output = T>) -> T {
        tokio::pin!(ready);
        loop {
            tokio::select! {
                ready = &mut ready => return ready,
                told = self.take() => pause(told).await,
            }
        }
    }

    /// What is to be reported next, and when it was changed. All that has come meanwhile goes in one report. Nothing is lost when the future
    /// is dropped.
    async fn report(&mut self) -> (ServiceReport, Vec<Timestamp>) {
        loop {
            // Services of which no endpoints are known yet would refuse everybody for a moment.
            if self.services.is_known && self.slices.is_known {
                let report = ServiceReport { services: self.services.report(), slices: self.slices.report() };
                if report != ServiceReport::default() {
                    let triggered = [&mut self.services.triggered, &mut self.slices.triggered];
                    return (report, triggered.map(std::mem::take).concat());
                }
            }
            pause(self.take().await).await;
            for _ in 0..BATCH_MAX {
                let Some(told) = self.take().now_or_never() else { break };
                pause(told).await;
            }
        }
    }

    /// Takes the next that comes. Nothing is lost when the future is dropped.
    async fn take(&mut self) -> Told {
        let node = &self.node;
        tokio::select! {
            event = self.services.events.next() => self.services.take(event, &|one| (name_of(&one.metadata), wish(one))),
            event = self.slices.events.next() => self.slices.take(event, &|one| (name_of(&one.metadata), slice(one, node))),
        }
    }
}

/// Whether the API tells what there is.
enum Told {
    Yes,
    No,
}

/// It is not asked again at once when it does not tell.
async fn pause(told: Told) {
    if matches!(told, Told::No) {
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until no service leads to these addresses any more: who is told to end shall have been asked for the last time. Not for long,
/// for a cluster may be slow to say so.
pub(crate) async fn left(engine: &Engine, addresses: &[IpAddr]) {
    let mut states = engine.watch();
    let leading = leading(&states.borrow_and_update(), addresses);
    let none_leads = |state: &Arc<State>| {
        leading.iter().all(|name| state.slices.get(name).is_none_or(|slice| !leads(slice, addresses)))
    };
    // It fails when the engine ends, and with it everything here.
    let _ = tokio::time::timeout(LEAVING, states.wait_for(none_leads)).await;
}

/// The slices that lead new clients to one of these addresses, until that ends. Those of a service that leads to everybody do not end.
fn leading(state: &State, addresses: &[IpAddr]) -> Vec<NamespacedName> {
    let ends = |slice: &EndpointSlice| {
        let service = state.services.get(&slice.service);
        leads(slice, addresses) && service.is_some_and(|service| service.wish.unready == Unready::LeftOut)
    };
    state.slices.iter().filter(|(_, slice)| ends(slice)).map(|(name, _)| name.clone()).collect()
}

fn leads(slice: &EndpointSlice, addresses: &[IpAddr]) -> bool {
    slice.endpoints.iter().any(|end| end.condition == Condition::Ready && addresses.contains(&end.address))
}

/// Has it come true; until then what comes later waits.
async fn submit(shared: &Shared, progress: &Progress, report: ServiceReport, triggered: &[Timestamp]) {
    progress.queued(count(&report.services), count(&report.slices));
    let command = Command::ReportServices(Box::new(report));
    let begun = Instant::now();
    while let Err(error) = shared.engine.submit(command.clone()).await {
        progress.failed();
        warn!(%error, "services are not as reported yet; it is tried again");
        tokio::time::sleep(AGAIN).await;
    }
    progress.done(begun.elapsed(), triggered);
}

fn count<T>(report: &Report<T>) -> u64 {
    let count = match report {
        Report::Changes { puts, removes } => puts.len() + removes.len(),
        Report::All(all) => all.len(),
    };
    count as u64
}

/// One kind of objects: what the API tells of it, and what was not reported yet.
struct Source<K, M> {
    events: BoxStream<'static, Result<Event<K>, watcher::Error>>,
    /// Whether a list was ever complete.
    is_known: bool,
    /// A list that is not complete yet.
    listed: Option<BTreeMap<NamespacedName, M>>,
    /// A list that is complete.
    all: Option<BTreeMap<NamespacedName, M>>,
    /// Changes after it; none for what went.
    changes: BTreeMap<NamespacedName, Option<M>>,
    /// When what changed after it was changed, as far as that is said.
    triggered: Vec<Timestamp>,
}

/// Reads an object; one without a meaning here (somebody else's service) is as if it were not there.
type Read<'r, K, M> = &'r (dyn Fn(K) -> (NamespacedName, Option<M>) + Sync);

impl<K, M> Source<K, M>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    fn new(client: &Client) -> Self {
        let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).boxed();
        Self { events, is_known: false, listed: None, all: None, changes: BTreeMap::new(), triggered: Vec::new() }
    }

    fn take(&mut self, event: Option<Result<Event<K>, watcher::Error>>, read: Read<'_, K, M>) -> Told {
        match event {
            Some(Ok(event)) => self.apply(event, read),
            Some(Err(error)) => {
                warn!(%error, kind = %K::kind(&()), "what changes is not told; it is asked again");
                return Told::No;
            }
            None => {}
        }
        Told::Yes
    }

    fn apply(&mut self, event: Event<K>, read: Read<'_, K, M>) {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                if let (Some(listed), (name, Some(meaning))) = (&mut self.listed, read(object)) {
                    listed.insert(name, meaning);
                }
            }
            Event::InitDone => {
                self.is_known = true;
                self.all = self.listed.take();
                self.changes.clear();
                self.triggered.clear();
            }
            Event::Apply(object) => {
                let said = object.meta().annotations.as_ref().and_then(|said| said.get(TRIGGERED));
                self.triggered.extend(said.and_then(|at| at.parse::<Timestamp>().ok()));
                self.changes.extend([read(object)]);
            }
            Event::Delete(object) => drop(self.changes.insert(name_of(object.meta()), None)),
        }
    }

    /// What was not reported yet.
    fn report(&mut self) -> Report<M> {
        let changes = std::mem::take(&mut self.changes);
        if let Some(mut all) = self.all.take() {
            for (name, change) in changes {
                match change {
                    Some(meaning) => drop(all.insert(name, meaning)),
                    None => drop(all.remove(&name)),
                }
            }
            return Report::All(all.into_values().collect());
        }
        let (mut puts, mut removes) = (Vec::new(), Vec::new());
        for (name, change) in changes {
            match change {
                Some(meaning) => puts.push(meaning),
                None => removes.push(name),
            }
        }
        Report::Changes { puts, removes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_leads_to_a_pod() {
        let node = Node { name: "here".to_owned(), zone: None };
        let mut state = State::default();
        for (name, spec, conditions) in [
            ("ready", json!({}), json!({ "ready": true })),
            ("unset", json!({}), json!({})),
            ("ending", json!({}), json!({ "ready": false, "serving": true, "terminating": true })),
            ("everybody", json!({ "publishNotReadyAddresses": true }), json!({ "ready": true, "terminating": true })),
        ] {
            let object = json!({ "metadata": { "namespace": "shop", "name": name }, "spec": spec });
            let service: told::Service = serde_json::from_value(object).expect("a service");
            let wish = wish(service).expect("ours");
            let service = model::Service { wish, frontends: vec![], contested: vec![], slots: vec![] };
            state.services.insert(service.wish.name.clone(), Arc::new(service));
            let object = json!({
                "metadata": { "namespace": "shop", "name": name, "labels": { "kubernetes.io/service-name": name } },
                "addressType": "IPv4",
                "ports": [{ "port": 80 }],
                "endpoints": [{ "addresses": ["10.0.0.9"] }, { "addresses": ["10.0.0.1"], "conditions": conditions }],
            });
            let object: told::EndpointSlice = serde_json::from_value(object).expect("a slice");
            let slice = slice(object, &node).expect("ours");
            state.slices.insert(slice.name.clone(), Arc::new(slice));
        }
        let of = |address: [u8; 4]| -> Vec<_> {
            leading(&state, &[address.into()]).iter().map(|name| name.to_string()).collect()
        };
        assert_eq!(of([10, 0, 0, 1]), ["shop/ready", "shop/unset"]);
        assert_eq!(of([10, 0, 0, 2]), [""; 0]);
    }
}
