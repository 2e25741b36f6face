//! The addresses of Services of type LoadBalancer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceSpec};

use super::change::{self, Event, ObjectChange, Outcome, Severity, with_status};
use super::cluster::{Cluster, ObjectRef};
use super::endpoint_slice::families;
use super::node_lifecycle::is_ready;

/// `loadBalancerClass` of the Services that are ours; those that name none are, too.
pub const CLASS: &str = "linkspan/load-balancer";
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const COMPONENT: &str = "service-controller";
/// The addresses that a Service asks for, one of a family at most: it is what users of MetalLB write, and unlike `spec.loadBalancerIP` it can
/// name two.
const ASKED: &str = "metallb.io/loadBalancerIPs";
/// How many addresses of a network are tried.
const PROBES: u128 = 65_536;

/// Where they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Pool {
    /// All ready nodes' own addresses, shared by all Services whose ports differ.
    #[default]
    Nodes,
    /// One of these for each Service and family: any of a network's addresses, the first one too.
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
    let asked = asked(service, spec)?;
    let mut addresses = Vec::new();
    let mut problem = None;
    for family in families(spec) {
        let asked = asked.iter().find(|address| address.is_ipv4() == (family == "IPv4")).copied();
        let found = match &cluster.settings.load_balancer {
            Pool::Nodes => {
                let nodes = node_addresses(cluster, family);
                match asked.filter(|asked| !nodes.contains(asked)) {
                    Some(asked) => Err(format!("address {asked} is none of the nodes' own, and there is no pool")),
                    None => shared(&others, spec, asked.map_or(nodes, |asked| vec![asked])),
                }
            }
            Pool::Addresses(networks) => own(&others, service, (family, asked), networks).map(|address| vec![address]),
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

/// The addresses that a Service asks for.
fn asked(service: &Service, spec: &ServiceSpec) -> Result<Vec<IpAddr>, String> {
    let annotation = service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ASKED));
    let field = spec.load_balancer_ip.as_deref().filter(|address| !address.is_empty());
    let text = match (annotation, field) {
        (Some(_), Some(_)) => return Err(format!("spec.loadBalancerIP and the annotation {ASKED} are both there")),
        (annotation, field) => annotation.map(String::as_str).or(field).unwrap_or_default(),
    };
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|_| format!("{word:?} is no address"))).collect()
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
            let holder = name_of(other);
            Some(format!("port {port}/{protocol} of {address} is already allocated by service {holder}"))
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
    (family, asked): (&str, Option<IpAddr>),
    networks: &[IpNet],
) -> Result<IpAddr, String> {
    let taken: BTreeMap<IpAddr, &Service> =
        others.iter().flat_map(|other| given(other).into_iter().map(move |address| (address, *other))).collect();
    let in_pool = |address: &IpAddr| networks.iter().any(|network| network.contains(address));
    let of_family = |address: &IpAddr| address.is_ipv4() == (family == "IPv4");
    let possible = |address: &IpAddr| of_family(address) && !taken.contains_key(address) && in_pool(address);
    match asked {
        Some(asked) if !in_pool(&asked) => return Err(format!("address {asked} is not in the pool")),
        Some(asked) => {
            let holder = taken.get(&asked).map(|other| name_of(other));
            return holder
                .map_or(Ok(asked), |holder| Err(format!("address {asked} is already allocated by service {holder}")));
        }
        None => {}
    }
    if let Some(address) = given(service).into_iter().find(possible) {
        return Ok(address);
    }
    let mut all = networks.iter().flat_map(each_of).filter(possible);
    all.next().ok_or_else(|| format!("no {family} address of the pool is free"))
}

/// The first addresses of a network, from the very first on.
fn each_of(network: &IpNet) -> impl Iterator<Item = IpAddr> {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len());
    let many = 1_u128.checked_shl(bits).unwrap_or(u128::MAX).min(PROBES);
    let first = network.network();
    (0..many).map(move |offset| match first {
        // Fewer than the network has.
        IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + offset as u32).into(),
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + offset).into(),
    })
}

fn name_of(service: &Service) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}/{}", text(&service.metadata.namespace), text(&service.metadata.name))
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
