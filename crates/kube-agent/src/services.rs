//! Services and their endpoints: what the API tells of them becomes reports of the model, many at once and none held back. What is wrong
//! with an object harms that object only.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use engine::Engine;
use futures_util::{FutureExt, StreamExt, stream::BoxStream};
use k8s_openapi::{
    api::{
        core::v1 as core,
        discovery::v1::{self as discovery, Endpoint},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use model::{
    Command, State,
    port::Protocol,
    service::{
        Affinity, Backend, Condition, EndpointSlice, Meant, NamespacedName, Place, Report, ServicePort, ServiceReport,
        ServiceWish, SlicePort, TrafficPolicy, Unready,
    },
};
use tracing::warn;

use crate::Shared;

/// How long after a failure of the API, or of the engine, it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How many objects are reported at a time at most, once the first lists were.
const BATCH_MAX: usize = 1024;

/// Others serve the services that name them here.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Whose slice it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The longest that is waited until services have let go of a pod.
const LEAVING: Duration = Duration::from_secs(2);
/// The zone of a node.
const ZONE: &str = "topology.kubernetes.io/zone";

/// Who asks for the endpoints.
struct Node {
    name: String,
    zone: Option<String>,
}

/// Follows services and endpoint slices.
pub(crate) async fn follow(shared: Arc<Shared>) {
    let node = Node { name: shared.node.name.clone(), zone: shared.node.labels.get(ZONE).cloned() };
    let mut services = Source::<core::Service, ServiceWish>::new(&shared.client);
    let mut slices = Source::<discovery::EndpointSlice, EndpointSlice>::new(&shared.client);
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
        if services.is_known && slices.is_known {
            report(&shared, &mut services, &mut slices).await;
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

async fn report(
    shared: &Shared,
    services: &mut Source<core::Service, ServiceWish>,
    slices: &mut Source<discovery::EndpointSlice, EndpointSlice>,
) {
    let report = ServiceReport { services: services.report(), slices: slices.report() };
    if report == ServiceReport::default() {
        return;
    }
    let command = Command::ReportServices(Box::new(report));
    while let Err(error) = shared.engine.submit(command.clone()).await {
        warn!(%error, "services are not as reported yet; it is tried again");
        tokio::time::sleep(AGAIN).await;
    }
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
}

/// Reads an object; one without a meaning here (somebody else's service) is as if it were not there.
type Read<'r, K, M> = &'r (dyn Fn(&K) -> Option<(NamespacedName, Option<M>)> + Sync);

impl<K, M> Source<K, M>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    fn new(client: &Client) -> Self {
        let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).boxed();
        Self { events, is_known: false, listed: None, all: None, changes: BTreeMap::new() }
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
            Event::Apply(object) => self.changes.extend(read(&object)),
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

fn name_of(metadata: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What a service asks for; none for one that somebody else serves.
fn wish(service: &core::Service) -> Option<ServiceWish> {
    if service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME)) {
        return None;
    }
    let spec = service.spec.clone().unwrap_or_default();
    let local = |policy: &Option<String>| match policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let addresses = |texts: &Option<Vec<String>>| texts.iter().flatten().filter_map(|text| text.parse().ok()).collect();
    let balancers =
        service.status.iter().flat_map(|status| &status.load_balancer).flat_map(|balancer| &balancer.ingress);
    let balancers = balancers.flatten().filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let balancer_addresses = balancers.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok());
    let affinity = match spec.session_affinity.as_deref() {
        Some("ClientIP") => {
            let config = spec.session_affinity_config.and_then(|config| config.client_ip);
            let timeout_s = config.and_then(|client| client.timeout_seconds).and_then(|s| u32::try_from(s).ok());
            Affinity::ClientIp { timeout_s: timeout_s.unwrap_or(10_800) }
        }
        _ => Affinity::None,
    };
    Some(ServiceWish {
        name: name_of(&service.metadata),
        cluster_addresses: if kind == "ExternalName" { Vec::new() } else { addresses(&spec.cluster_ips) },
        external_addresses: addresses(&spec.external_ips),
        balancer_addresses: if kind == "LoadBalancer" { balancer_addresses.collect() } else { Vec::new() },
        balancer_sources: addresses_of_sources(&spec.load_balancer_source_ranges),
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        affinity,
        internal: local(&spec.internal_traffic_policy),
        external: local(&spec.external_traffic_policy),
        health_check_port: spec.health_check_node_port.and_then(number).filter(|port| *port != 0),
        unready: if spec.publish_not_ready_addresses == Some(true) { Unready::Served } else { Unready::LeftOut },
        external_name: spec.external_name.filter(|_| kind == "ExternalName"),
    })
}

fn addresses_of_sources(ranges: &Option<Vec<String>>) -> Vec<ipnet::IpNet> {
    ranges.iter().flatten().filter_map(|range| range.trim().parse().ok()).collect()
}

fn port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.clone().unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref())?,
        port: number(port.port)?,
        node_port: port.node_port.and_then(number).filter(|port| *port != 0),
    })
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// What a slice says; none for one that belongs to no service, or has names for addresses.
fn slice(slice: &discovery::EndpointSlice, node: &Node) -> Option<EndpointSlice> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    if slice.address_type == "FQDN" {
        return None;
    }
    let port = |port: &discovery::EndpointPort| {
        Some(SlicePort {
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol(port.protocol.as_deref())?,
            port: number(port.port?)?,
        })
    };
    Some(EndpointSlice {
        name: name_of(&slice.metadata),
        service: NamespacedName::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service),
        ports: slice.ports.iter().flatten().filter_map(port).collect(),
        endpoints: slice.endpoints.iter().flatten().filter_map(|endpoint| backend(endpoint, node)).collect(),
    })
}

/// The first address counts (the EndpointSlice page: consumers use only that).
fn backend(endpoint: &Endpoint, node: &Node) -> Option<Backend> {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let condition = if conditions.ready.unwrap_or(true) {
        Condition::Ready
    } else if conditions.serving == Some(true) && conditions.terminating == Some(true) {
        Condition::Draining
    } else {
        Condition::Unready
    };
    let hints = endpoint.hints.clone().unwrap_or_default();
    let nodes: Vec<_> = hints.for_nodes.into_iter().flatten().map(|hint| hint.name).collect();
    let zones: Vec<_> = hints.for_zones.into_iter().flatten().map(|hint| hint.name).collect();
    let of_zone = zones.is_empty() || node.zone.as_ref().is_none_or(|zone| zones.contains(zone));
    let meant =
        if (nodes.is_empty() || nodes.contains(&node.name)) && of_zone { Meant::ForUs } else { Meant::ForOthers };
    Some(Backend {
        address: endpoint.addresses.first()?.parse().ok()?,
        condition,
        place: if endpoint.node_name.as_ref() == Some(&node.name) { Place::Here } else { Place::Elsewhere },
        meant,
        hostname: endpoint.hostname.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn services_mean() {
        let check = |spec: Value, status: Value, expected: Value| {
            let object = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": spec, "status": status });
            let service: core::Service = serde_json::from_value(object).expect("a service");
            let mut whole = json!({ "name": "shop/web", "cluster_addresses": [], "ports": [] });
            for (field, value) in expected.as_object().expect("fields") {
                whole[field] = value.clone();
            }
            assert_eq!(serde_json::to_value(wish(&service)).expect("JSON"), whole);
        };
        check(json!({ "clusterIPs": ["None"] }), json!({}), json!({}));
        check(
            json!({
                "type": "LoadBalancer", "clusterIPs": ["10.96.0.7", "fd00::7"], "sessionAffinity": "ClientIP",
                "ports": [{ "name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 30999, "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "publishNotReadyAddresses": true,
            }),
            json!({ "loadBalancer": { "ingress": [{ "ip": "198.51.100.1" }, { "ip": "198.51.100.2", "ipMode": "Proxy" }] } }),
            json!({
                "cluster_addresses": ["10.96.0.7", "fd00::7"], "balancer_addresses": ["198.51.100.1"],
                "balancer_sources": ["192.0.2.0/24"], "affinity": { "ClientIp": { "timeout_s": 10800 } },
                "ports": [
                    { "name": "http", "protocol": "tcp", "port": 80, "node_port": 30080 },
                    { "protocol": "udp", "port": 53 },
                ],
                "external": "Local", "health_check_port": 30999, "unready": "Served",
            }),
        );
        check(
            json!({ "type": "ExternalName", "externalName": "example.com" }),
            json!({}),
            json!({ "external_name": "example.com" }),
        );
    }

    #[test]
    fn endpoints_mean() {
        let node = Node { name: "here".to_owned(), zone: Some("a".to_owned()) };
        let check = |endpoint: Value, expected: Option<(Condition, Place, Meant)>| {
            let endpoint: Endpoint = serde_json::from_value(endpoint).expect("an endpoint");
            assert_eq!(backend(&endpoint, &node).map(|b| (b.condition, b.place, b.meant)), expected);
        };
        let at = json!(["10.244.0.7"]);
        check(json!({ "addresses": at }), Some((Condition::Ready, Place::Elsewhere, Meant::ForUs)));
        check(
            json!({ "addresses": at, "nodeName": "here", "conditions": { "ready": false, "serving": true, "terminating": true } }),
            Some((Condition::Draining, Place::Here, Meant::ForUs)),
        );
        check(
            json!({ "addresses": at, "conditions": { "ready": false, "serving": true } }),
            Some((Condition::Unready, Place::Elsewhere, Meant::ForUs)),
        );
        check(
            json!({ "addresses": at, "hints": { "forZones": [{ "name": "b" }] } }),
            Some((Condition::Ready, Place::Elsewhere, Meant::ForOthers)),
        );
        check(
            json!({ "addresses": at, "hints": { "forNodes": [{ "name": "here" }] } }),
            Some((Condition::Ready, Place::Elsewhere, Meant::ForUs)),
        );
        check(json!({ "addresses": ["nowhere"] }), None);
    }

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
