//! The addresses of Services of type LoadBalancer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Node, Service, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

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
/// The condition of a Service that does not get all addresses: it says what was told last, so that it is not told again.
const PROBLEM: &str = "LoadBalancerAddressError";
/// `reason` of that condition, and of the event.
const FAILED: &str = "SyncLoadBalancerFailed";
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
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(service) = cluster.get::<Service>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = &service.spec else { return Outcome::default() };
    let balanced = is_balanced(spec) && service.metadata.deletion_timestamp.is_none();
    if balanced && spec.load_balancer_class.as_deref().is_some_and(|class| class != CLASS) {
        return Outcome::default();
    }
    let present = ingress(service);
    let Found { ingress: wanted, problems, away } =
        if balanced { addresses(cluster, service, spec) } else { Found::default() };
    let told = problem(service);
    // Nothing new is known while nodes are away.
    let problem = if away && problems.is_empty() { told.to_owned() } else { problems.join("; ") };
    if present == wanted && problem == told {
        return Outcome::default();
    }
    let event = |severity, reason, message: String| {
        let about = change::about::<Service>(&service.metadata);
        ObjectChange::Event(Event { about, severity, reason, message, component: COMPONENT })
    };
    let ensured = !wanted.is_empty() && present != wanted;
    let failed = !problem.is_empty() && problem != told;
    let mut changes = Vec::new();
    if ensured {
        changes.push(event(Severity::Normal, "EnsuringLoadBalancer", "Ensuring load balancer".into()));
    }
    // Before what says that it was told.
    if failed {
        changes.push(event(Severity::Warning, FAILED, format!("Error syncing load balancer: {problem}")));
    }
    changes.extend(write(cluster, key, service, (wanted, &problem), now));
    if ensured {
        changes.push(event(Severity::Normal, "EnsuredLoadBalancer", "Ensured load balancer".into()));
    }
    changes.into()
}

/// Whether a Service of this type has not an address of each of its families.
pub fn waits(service: &Service) -> bool {
    let Some(spec) = service.spec.as_ref().filter(|spec| is_balanced(spec)) else { return false };
    let given: BTreeSet<_> = given(service).iter().map(family_of).collect();
    families(spec).iter().any(|family| !given.contains(family))
}

/// Whether a Service has an address that others may want when it changes.
pub fn holds(service: &Service) -> bool {
    !ingress(service).is_empty()
}

/// The addresses under which ready nodes are reached: those for the outside if there are any, of one family.
pub fn node_addresses(cluster: &Cluster, family: &str) -> Vec<IpAddr> {
    nodes(cluster).filter(|node| is_ready(node)).filter_map(|node| node_address(node, family)).collect()
}

/// The nodes that may balance, ready or not.
fn nodes(cluster: &Cluster) -> impl Iterator<Item = &Node> {
    let excluded = |node: &Node| node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
    cluster.list::<Node>(None).filter(move |node| !excluded(node))
}

fn node_address(node: &Node, family: &str) -> Option<IpAddr> {
    let addresses = || node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let of_kind = |kind: &str| {
        let mut parsed = addresses().filter(|a| a.type_ == kind).filter_map(|a| a.address.parse().ok());
        parsed.find(|address| family_of(address) == family)
    };
    of_kind("ExternalIP").or_else(|| of_kind("InternalIP"))
}

fn family_of(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn is_balanced(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer")
}

fn ingress(service: &Service) -> Vec<LoadBalancerIngress> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    status.and_then(|status| status.ingress.clone()).unwrap_or_default()
}

fn given(service: &Service) -> BTreeSet<IpAddr> {
    ingress(service).iter().filter_map(|ingress| ingress.ip.as_deref()?.parse().ok()).collect()
}

/// What was told last of the addresses that it does not get; empty if it gets all.
fn problem(service: &Service) -> &str {
    let mut conditions = service.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.find(|condition| condition.type_ == PROBLEM).map_or("", |condition| condition.message.as_str())
}

/// What a Service gets.
#[derive(Default)]
struct Found {
    ingress: Vec<LoadBalancerIngress>,
    /// Why it does not get others.
    problems: Vec<String>,
    /// The nodes of one of its families are away, which for a moment does not cost it its address.
    away: bool,
}

/// The addresses that a Service gets, and why it does not get others.
fn addresses(cluster: &Cluster, service: &Service, spec: &ServiceSpec) -> Found {
    let others: Vec<&Service> = cluster
        .list::<Service>(None)
        .filter(|other| other.metadata.uid != service.metadata.uid && !given(other).is_empty())
        .collect();
    let asked = match asked(service, spec) {
        Ok(asked) => asked,
        Err(problem) => return Found { problems: vec![problem], ..Found::default() },
    };
    let mut found = Found::default();
    for family in families(spec) {
        let asked = asked.get(family).copied();
        let addresses = match &cluster.settings.load_balancer {
            Pool::Nodes => of_nodes(cluster, family, asked).and_then(|nodes| shared(&others, spec, nodes)),
            Pool::Addresses(networks) => own(&others, service, (family, asked), networks).map(|address| vec![address]),
        };
        match addresses {
            Ok(addresses) if addresses.is_empty() => {
                found.away = true;
                found.ingress.extend(ingress(service).into_iter().filter(|given| family_given(given) == Some(family)));
            }
            Ok(addresses) => found.ingress.extend(addresses.into_iter().map(given_as)),
            Err(problem) => found.problems.push(problem),
        }
    }
    found
}

fn given_as(address: IpAddr) -> LoadBalancerIngress {
    LoadBalancerIngress { ip: Some(address.to_string()), ip_mode: Some("VIP".into()), ..LoadBalancerIngress::default() }
}

fn family_given(given: &LoadBalancerIngress) -> Option<&'static str> {
    given.ip.as_deref()?.parse().ok().map(|address| family_of(&address))
}

/// The addresses that a Service asks for, by their families.
fn asked(service: &Service, spec: &ServiceSpec) -> Result<BTreeMap<&'static str, IpAddr>, String> {
    let annotation = service.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ASKED));
    let field = spec.load_balancer_ip.as_deref().filter(|address| !address.is_empty());
    let text = match (annotation, field) {
        (Some(_), Some(_)) => return Err(format!("spec.loadBalancerIP and the annotation {ASKED} are both there")),
        (annotation, field) => annotation.map(String::as_str).or(field).unwrap_or_default(),
    };
    let mut asked = BTreeMap::new();
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let address: IpAddr = word.parse().map_err(|_| format!("{word:?} is no address"))?;
        let family = family_of(&address);
        if !families(spec).contains(&family) {
            return Err(format!("address {address} is of {family}, which is none of the Service's spec.ipFamilies"));
        }
        if let Some(other) = asked.insert(family, address).filter(|other| *other != address) {
            return Err(format!(
                "addresses {other} and {address} are both {family}: one of each family may be asked for"
            ));
        }
    }
    Ok(asked)
}

/// The ready nodes' addresses of a family, none while they are away; of one that is asked for that one.
fn of_nodes(cluster: &Cluster, family: &str, asked: Option<IpAddr>) -> Result<Vec<IpAddr>, String> {
    let all: Vec<_> = nodes(cluster).map(|node| node_address(node, family)).collect();
    if !all.is_empty() && all.iter().all(Option::is_none) {
        return Err(format!("no node has an {family} address, and there is no pool"));
    }
    let mut ready = node_addresses(cluster, family);
    let Some(asked) = asked else { return Ok(ready) };
    if !all.contains(&Some(asked)) {
        return Err(format!("address {asked} is none of the nodes' own, and there is no pool"));
    }
    ready.retain(|address| *address == asked);
    Ok(ready)
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
    let possible = |address: &IpAddr| family_of(address) == family && !taken.contains_key(address) && in_pool(address);
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
    (ingress, problem): (Vec<LoadBalancerIngress>, &str),
    now: Timestamp,
) -> Option<ObjectChange> {
    let mut status = service.status.clone().unwrap_or_default();
    status.load_balancer = Some(LoadBalancerStatus { ingress: Some(ingress).filter(|ingress| !ingress.is_empty()) });
    let conditions = status.conditions.get_or_insert_default();
    let since = conditions.iter().find(|condition| condition.type_ == PROBLEM).map(|c| c.last_transition_time.clone());
    conditions.retain(|condition| condition.type_ != PROBLEM);
    if !problem.is_empty() {
        conditions.push(Condition {
            type_: PROBLEM.into(),
            status: "True".into(),
            reason: FAILED.into(),
            message: problem.into(),
            last_transition_time: since.unwrap_or(Time(now)),
            observed_generation: None,
        });
    }
    status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
    with_status(cluster, key, &status)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn who_waits() {
        let check = |kind: &str, families: Value, given: &[&str], expected: bool| {
            let ingress: Vec<_> = given.iter().map(|ip| json!({ "ip": ip })).collect();
            let service = serde_json::from_value(json!({
                "spec": { "type": kind, "ipFamilies": families }, "status": { "loadBalancer": { "ingress": ingress } },
            }));
            assert_eq!(waits(&service.unwrap()), expected, "{kind} {families} {given:?}");
        };
        check("ClusterIP", json!(["IPv4"]), &[], false);
        check("LoadBalancer", json!(["IPv4"]), &[], true);
        check("LoadBalancer", json!(["IPv4"]), &["192.0.2.1"], false);
        check("LoadBalancer", json!(["IPv4", "IPv6"]), &["192.0.2.1"], true);
        // Of each of the nodes one.
        check("LoadBalancer", json!(["IPv4", "IPv6"]), &["192.0.2.1", "192.0.2.2"], true);
        check("LoadBalancer", json!(["IPv4", "IPv6"]), &["192.0.2.1", "2001:db8::1"], false);
    }
}
