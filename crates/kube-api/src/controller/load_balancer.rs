//! The addresses of Services of type LoadBalancer.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceSpec};

use super::change::{self, Event, ObjectChange, Outcome, Severity, with_status};
use super::cluster::{Cluster, ObjectRef};
use super::endpoint_slice::families;
use super::node_lifecycle::is_ready;
use super::template::fnv32;

/// `loadBalancerClass` of the Services that are ours; those that name none are, too.
pub const CLASS: &str = "linkspan/load-balancer";
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const COMPONENT: &str = "service-controller";
/// How many addresses of a network are tried.
const PROBES: usize = 65_536;

/// Where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Pool {
    /// All ready nodes' own addresses, shared by all Services whose ports differ.
    #[default]
    Nodes,
    /// One of these for each Service and family.
    Addresses(Vec<IpNet>),
}

/// Gives a Service its addresses, or takes them back.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let Some(service) = cluster.get::<Service>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &service.spec else { return Outcome::default() };
    let present = ingress(service);
    let balanced = spec.type_.as_deref() == Some("LoadBalancer") && service.metadata.deletion_timestamp.is_none();
    if balanced && spec.load_balancer_class.as_deref().is_some_and(|class| class != CLASS) {
        return Outcome::default();
    }
    let wanted = if balanced { addresses(cluster, service, spec) } else { Ok(Vec::new()) };
    let event = |severity, reason, message: String| {
        let about = change::about::<Service>(&service.metadata);
        ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(problem) => {
            let message = format!("Error syncing load balancer: {problem}");
            let mut changes = vec![event(Severity::Warning, "SyncLoadBalancerFailed", message)];
            changes.extend(write(cluster, key, service, Vec::new()).filter(|_| !present.is_empty()));
            return changes.into();
        }
    };
    // A node that is away for a moment does not cost a Service its address.
    if present == wanted || (balanced && wanted.is_empty()) {
        return Outcome::default();
    }
    let ensured = balanced && !wanted.is_empty();
    let mut changes = Vec::new();
    if ensured {
        changes.push(event(Severity::Normal, "EnsuringLoadBalancer", "Ensuring load balancer".into()));
    }
    changes.extend(write(cluster, key, service, wanted));
    if ensured {
        changes.push(event(Severity::Normal, "EnsuredLoadBalancer", "Ensured load balancer".into()));
    }
    changes.into()
}

/// Whether a Service of this type has no address yet.
pub fn waits(service: &Service) -> bool {
    let balanced = service.spec.as_ref().is_some_and(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    balanced && ingress(service).is_empty()
}

/// Whether a Service has an address that others may want when it changes.
pub fn holds(service: &Service) -> bool {
    !ingress(service).is_empty()
}

/// The addresses under which nodes are reached: those for the outside if there are any, of one family.
pub fn node_addresses(cluster: &Cluster, family: &str) -> Vec<IpAddr> {
    let included = |node: &&Node| !node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
    let nodes = cluster.list::<Node>(None).filter(|node| is_ready(node)).filter(included);
    let of_node = nodes.filter_map(|node| {
        let addresses: Vec<_> = node.status.iter().flat_map(|status| status.addresses.iter().flatten()).collect();
        let of_kind = |kind: &str| {
            let mut parsed = addresses.iter().filter(|a| a.type_ == kind).filter_map(|a| a.address.parse().ok());
            parsed.find(|address: &IpAddr| address.is_ipv4() == (family == "IPv4"))
        };
        of_kind("ExternalIP").or_else(|| of_kind("InternalIP"))
    });
    of_node.collect()
}

fn ingress(service: &Service) -> Vec<LoadBalancerIngress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.clone()).unwrap_or_default()
}

fn given(service: &Service) -> BTreeSet<IpAddr> {
    ingress(service).iter().filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).collect()
}

fn addresses(cluster: &Cluster, service: &Service, spec: &ServiceSpec) -> Result<Vec<LoadBalancerIngress>, String> {
    let others: Vec<&Service> = cluster
        .list::<Service>(None)
        .filter(|other| other.metadata.uid != service.metadata.uid && !given(other).is_empty())
        .collect();
    let mut addresses = Vec::new();
    let mut problem = None;
    for family in families(spec) {
        let found = match &cluster.settings.load_balancer {
            Pool::Nodes => shared(&others, spec, node_addresses(cluster, family)),
            Pool::Addresses(networks) => own(&others, service, spec, family, networks).map(|address| vec![address]),
        };
        match found {
            Ok(found) => addresses.extend(found),
            Err(why) => problem = Some(why),
        }
    }
    if let Some(problem) = problem.filter(|_| addresses.is_empty()) {
        return Err(problem);
    }
    let ingress = |address: IpAddr| LoadBalancerIngress {
        ip: Some(address.to_string()),
        ip_mode: Some("VIP".into()),
        ..LoadBalancerIngress::default()
    };
    Ok(addresses.into_iter().map(ingress).collect())
}

/// All of the nodes' addresses on which nobody else has one of its ports.
fn shared(others: &[&Service], spec: &ServiceSpec, nodes: Vec<IpAddr>) -> Result<Vec<IpAddr>, String> {
    let ports = |spec: &ServiceSpec| -> BTreeSet<(i32, String)> {
        let ports = spec.ports.iter().flatten();
        ports.map(|port| (port.port, port.protocol.clone().unwrap_or_else(|| "TCP".into()))).collect()
    };
    let own = ports(spec);
    let clash = |address: &IpAddr| {
        others.iter().filter(|other| given(other).contains(address)).find_map(|other| {
            let theirs = other.spec.as_ref().map(ports).unwrap_or_default();
            let (port, protocol) = own.intersection(&theirs).next()?.clone();
            let meta = &other.metadata;
            let (namespace, name) =
                (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
            Some(format!("port {port}/{protocol} of {address} is already allocated by service {namespace}/{name}"))
        })
    };
    let (free, taken): (Vec<_>, Vec<_>) =
        nodes.into_iter().map(|address| (address, clash(&address))).partition(|(_, clash)| clash.is_none());
    match taken.into_iter().find_map(|(_, clash)| clash) {
        Some(clash) if free.is_empty() => Err(clash),
        _ => Ok(free.into_iter().map(|(address, _)| address).collect()),
    }
}

/// An address that nobody else has: the one it has, the one it asks for, or a free one.
fn own(
    others: &[&Service],
    service: &Service,
    spec: &ServiceSpec,
    family: &str,
    networks: &[IpNet],
) -> Result<IpAddr, String> {
    let taken: BTreeSet<IpAddr> = others.iter().flat_map(|other| given(other)).collect();
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == "IPv4");
    let possible = |address: &IpAddr| {
        of_family(address) && !taken.contains(address) && networks.iter().any(|network| network.contains(address))
    };
    let asked = spec.load_balancer_ip.as_deref().and_then(|address| address.parse::<IpAddr>().ok()).filter(of_family);
    if let Some(asked) = asked {
        return if possible(&asked) {
            Ok(asked)
        } else {
            Err(format!("address {asked} is not in the pool, or is already allocated"))
        };
    }
    if let Some(address) = given(service).into_iter().find(possible) {
        return Ok(address);
    }
    let all: Vec<IpAddr> = networks.iter().flat_map(|network| network.hosts().take(PROBES)).filter(of_family).collect();
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let start = usize::try_from(fnv32(&[uid.as_bytes()])).unwrap_or(0) % all.len().max(1);
    let mut from_start = all.iter().cycle().skip(start).take(all.len());
    from_start
        .find(|address| possible(address))
        .copied()
        .ok_or_else(|| format!("no {family} address of the pool is free"))
}

fn write(
    cluster: &Cluster,
    key: &ObjectRef,
    service: &Service,
    ingress: Vec<LoadBalancerIngress>,
) -> Option<ObjectChange> {
    let mut status = service.status.clone().unwrap_or_default();
    status.load_balancer = Some(LoadBalancerStatus { ingress: Some(ingress).filter(|ingress| !ingress.is_empty()) });
    with_status(cluster, key, &status)
}
