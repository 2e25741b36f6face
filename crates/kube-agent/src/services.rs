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

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::Engine;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use model::{
    Command, State,
    service::{Condition, EndpointSlice, NamespacedName, Report, ServiceReport, ServiceWish, Unready},
};
use tracing::warn;

use self::{
    check_ports::CheckPorts,
    progress::Progress,
    read::{Node, ZONE, name_of, slice, wish},
};
use crate::Shared;

/// How long after a failure of the API, or of the engine, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many objects are reported at a time at most, once the first lists were.
const BATCH_MAX: usize = 1024;

/// The longest that is waited until services have let go of a pod.
const LEAVING: Duration = Duration::from_secs(2);
/// When an object of endpoints was last changed, and so when its change should have been in effect.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Follows services and endpoint slices, and tells how far it is.
pub(crate) async fn run(shared: Arc<Shared>) {
    let progress = Arc::new(Progress::default());
    tokio::join!(
        follow(&shared, &progress),
        health::serve(&shared, &progress),
        metrics::serve(&shared, &progress),
        refused::tell(&shared),
    );
}

async fn follow(shared: &Arc<Shared>, progress: &Arc<Progress>) {
    let node = Node { name: shared.node.name.clone(), zone: shared.node.labels.get(ZONE).cloned() };
    let mut services = Source::<core::Service, ServiceWish>::new(&shared.client);
    let mut slices = Source::<discovery::EndpointSlice, EndpointSlice>::new(&shared.client);
    let mut check_ports = CheckPorts::new(shared, progress);
    loop {
        tokio::select! {
            event = services.events.next() => services.take(event, &|one| Some((name_of(&one.metadata), wish(one)))).await,
            event = slices.events.next() => slices.take(event, &|one| Some((name_of(&one.metadata), slice(one, &node)))).await,
        }
        // All that has come meanwhile goes in one report.
        for _ in 0..BATCH_MAX {
            let service = services.events.next().now_or_never();
            let slice_event = slices.events.next().now_or_never();
            if service.is_none() && slice_event.is_none() {
                break;
            }
            if let Some(event) = service {
                services.take(event, &|one| Some((name_of(&one.metadata), wish(one)))).await;
            }
            if let Some(event) = slice_event {
                slices.take(event, &|one| Some((name_of(&one.metadata), slice(one, &node)))).await;
            }
        }
        // Services of which no endpoints are known yet would refuse everybody for a moment.
        if !(services.is_known && slices.is_known) {
            continue;
        }
        let report = ServiceReport { services: services.report(), slices: slices.report() };
        if report != ServiceReport::default() {
            check_ports.follow(&report.services).await;
            let triggered = [&mut services.triggered, &mut slices.triggered].map(std::mem::take).concat();
            submit(shared, progress, report, &triggered).await;
        }
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
type Read<'r, K, M> = &'r (dyn Fn(&K) -> Option<(NamespacedName, Option<M>)> + Sync);

impl<K, M> Source<K, M>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    fn new(client: &Client) -> Self {
        let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).boxed();
        Self { events, is_known: false, listed: None, all: None, changes: BTreeMap::new(), triggered: Vec::new() }
    }

    async fn take(&mut self, event: Option<Result<Event<K>, watcher::Error>>, read: Read<'_, K, M>) {
        match event {
            Some(Ok(event)) => self.apply(event, read),
            Some(Err(error)) => {
                warn!(%error, kind = %K::kind(&()), "what changes is not told; it is asked again");
                tokio::time::sleep(AGAIN).await;
            }
            None => {}
        }
    }

    fn apply(&mut self, event: Event<K>, read: Read<'_, K, M>) {
        match event {
            Event::Init => self.listed = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                if let (Some(listed), Some((name, Some(meaning)))) = (&mut self.listed, read(&object)) {
                    listed.insert(name, meaning);
                }
            }
            Event::InitDone => {
                self.is_known = true;
                self.all = self.listed.take();
                self.changes.clear();
            }
            Event::Apply(object) => {
                let said = object.meta().annotations.as_ref().and_then(|said| said.get(TRIGGERED));
                self.triggered.extend(said.and_then(|at| at.parse::<Timestamp>().ok()));
                self.changes.extend(read(&object));
            }
            Event::Delete(object) => self.changes.extend(read(&object).map(|(name, _)| (name, None))),
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
            let service: core::Service = serde_json::from_value(object).expect("a service");
            let wish = wish(&service).expect("ours");
            let service = model::Service { wish, frontends: vec![], contested: vec![], slots: vec![] };
            state.services.insert(service.wish.name.clone(), Arc::new(service));
            let object = json!({
                "metadata": { "namespace": "shop", "name": name, "labels": { "kubernetes.io/service-name": name } },
                "addressType": "IPv4",
                "ports": [{ "port": 80 }],
                "endpoints": [{ "addresses": ["10.0.0.9"] }, { "addresses": ["10.0.0.1"], "conditions": conditions }],
            });
            let object: discovery::EndpointSlice = serde_json::from_value(object).expect("a slice");
            let slice = slice(&object, &node).expect("ours");
            state.slices.insert(slice.name.clone(), Arc::new(slice));
        }
        let of = |address: [u8; 4]| -> Vec<_> {
            leading(&state, &[address.into()]).iter().map(|name| name.to_string()).collect()
        };
        assert_eq!(of([10, 0, 0, 1]), ["shop/ready", "shop/unset"]);
        assert_eq!(of([10, 0, 0, 2]), [""; 0]);
    }
}
