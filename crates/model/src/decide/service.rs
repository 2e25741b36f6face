//! Services: where each is asked, which endpoints serve, and in which slots. An endpoint that comes takes one slot more; when one goes, the
//! last one moves into its slot. What is wrong with one object is told, and the others go on.

mod slots;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use self::slots::Entry;
use super::{draft::Draft, network, port, sandbox};
use crate::{
    address::Family,
    change::{Record, RecordKey},
    event::Event,
    network::Origin,
    port::Protocol,
    service::{
        Affinity, Cluster, EndpointSlice, Frontend, FrontendKey, FrontendKind, NamespacedName, Report, Service,
        ServiceReport, ServiceWish, Slots, TrafficPolicy,
    },
};

/// The host is a node of this cluster from now on.
pub fn set_cluster(draft: &mut Draft, cluster: Cluster) {
    let before = draft.state.cluster.clone().unwrap_or_default();
    let moved = before.node_addresses != cluster.node_addresses;
    draft.put(Record::Cluster(Arc::new(cluster)));
    sandbox::adopt(draft);
    if moved {
        let named = |service: &Arc<Service>| service.wish.ports.iter().any(|port| port.node_port.is_some());
        let all = draft.state.services.iter().filter(|(_, service)| named(service)).map(|(name, _)| name.clone());
        let all = all.collect();
        settle(draft, all, BTreeMap::new());
    }
}

/// The host is a node of no cluster any more. Its pods are containers like others; their network stays while somebody is on it.
pub fn leave_cluster(draft: &mut Draft) {
    let services: Vec<_> = draft.state.services.keys().cloned().map(RecordKey::Service).collect();
    let slices: Vec<_> = draft.state.slices.keys().cloned().map(RecordKey::EndpointSlice).collect();
    services.into_iter().chain(slices).chain([RecordKey::Cluster]).for_each(|key| draft.delete(key));
    sandbox::orphan(draft);
    let of_pods = draft.state.networks.values().filter(|network| network.origin == Origin::Cluster);
    let of_pods: Vec<_> = of_pods.map(|network| network.id.clone()).collect();
    for network in of_pods {
        // Who is still on it holds it, and is told when it is asked to go.
        let _ = network::remove(draft, &network);
    }
}

/// Ports that nobody publishes any more are for the services that wait for them.
pub fn take_freed_ports(draft: &mut Draft) {
    if !draft.state.contested.is_empty() && draft.has_freed_ports() {
        let waiting = draft.state.contested.keys().map(|(_, name)| name.clone()).collect();
        settle(draft, waiting, BTreeMap::new());
    }
}

/// Something became known of services and their endpoints.
pub fn report(draft: &mut Draft, report: ServiceReport) {
    if draft.state.cluster.is_none() {
        draft.put(Record::Cluster(Arc::default()));
    }
    let mut touched = slices(draft, report.slices);
    let (puts, removes) = spelled_out(report.services, |service| &service.name, draft.state.services.keys());
    let mut wishes = BTreeMap::new();
    for wish in puts {
        match check(&wish) {
            Err(why) => tell(draft, &wish.name, why),
            Ok(()) => {
                touched.insert(wish.name.clone());
                wishes.insert(wish.name.clone(), wish);
            }
        }
    }
    for name in removes {
        if let Some(gone) = draft.state.services.get(&name).cloned() {
            draft.delete(RecordKey::Service(name.clone()));
            touched.extend(waiting(draft, gone.frontends.iter().filter_map(|frontend| gone.key(frontend))));
        }
        touched.remove(&name);
    }
    settle(draft, touched, wishes);
}

/// Takes over what is reported of endpoints; the services they are of are returned.
fn slices(draft: &mut Draft, report: Report<EndpointSlice>) -> BTreeSet<NamespacedName> {
    let mut touched = BTreeSet::new();
    let (puts, removes) = spelled_out(report, |slice| &slice.name, draft.state.slices.keys());
    for slice in puts {
        if let Err(why) = check_slice(&slice) {
            tell(draft, &slice.service, format!("EndpointSlice {}: {why}", slice.name.parts().1));
            continue;
        }
        let old = draft.state.slices.get(&slice.name).cloned();
        if old.as_deref() == Some(&slice) {
            continue;
        }
        touched.extend(old.map(|old| old.service.clone()));
        touched.insert(slice.service.clone());
        draft.put(Record::EndpointSlice(Arc::new(slice)));
    }
    for name in removes {
        if let Some(old) = draft.state.slices.get(&name).cloned() {
            touched.insert(old.service.clone());
            draft.delete(RecordKey::EndpointSlice(name));
        }
    }
    touched
}

/// What comes and what goes.
fn spelled_out<'k, T>(
    report: Report<T>,
    name: impl Fn(&T) -> &NamespacedName,
    known: impl Iterator<Item = &'k NamespacedName>,
) -> (Vec<T>, Vec<NamespacedName>) {
    match report {
        Report::Changes { puts, removes } => (puts, removes),
        Report::All(all) => {
            let here: BTreeSet<_> = all.iter().map(&name).collect();
            let gone = known.filter(|name| !here.contains(name)).cloned().collect();
            (all, gone)
        }
    }
}

/// Decides about services anew, and about those that get what these give up.
fn settle(draft: &mut Draft, mut open: BTreeSet<NamespacedName>, mut wishes: BTreeMap<NamespacedName, ServiceWish>) {
    while let Some(name) = open.pop_first() {
        let old = draft.state.services.get(&name).cloned();
        let Some(wish) = wishes.remove(&name).or_else(|| old.as_ref().map(|old| old.wish.clone())) else { continue };
        let (service, lost) = decided(draft, wish, old.as_deref());
        if old.as_deref() == Some(&service) {
            continue;
        }
        let was_lost = |key: &FrontendKey| {
            let keys = |old: &Arc<Service>| old.contested.iter().any(|frontend| old.key(frontend) == Some(*key));
            old.as_ref().is_some_and(keys)
        };
        for (key, holder) in lost.into_iter().filter(|(key, _)| !was_lost(key)) {
            let (address, protocol, port) = key;
            let at = SocketAddr::new(address, port);
            tell(draft, &name, format!("{at}/{protocol} is already that of {holder}, which keeps it"));
        }
        let kept: BTreeSet<_> = service.frontends.iter().filter_map(|frontend| service.key(frontend)).collect();
        let held = old.iter().flat_map(|old| old.frontends.iter().filter_map(|frontend| old.key(frontend)));
        let freed: Vec<_> = held.filter(|key| !kept.contains(key)).collect();
        draft.put(Record::Service(Arc::new(service)));
        open.extend(waiting(draft, freed.into_iter()).into_iter().filter(|other| *other != name));
    }
}

/// The services that would be asked at one of these.
fn waiting(draft: &Draft, freed: impl Iterator<Item = FrontendKey>) -> Vec<NamespacedName> {
    let first = NamespacedName::from("");
    let of = |key: FrontendKey| {
        let from = draft.state.contested.range((key, first.clone())..);
        from.take_while(move |((other, _), ())| *other == key).map(|((_, name), ())| name.clone())
    };
    freed.flat_map(of).collect()
}

/// What is decided about a service, and what it does not get because another has it: service, container or pod.
fn decided(draft: &Draft, wish: ServiceWish, old: Option<&Service>) -> (Service, Vec<(FrontendKey, String)>) {
    let mut service = Service { wish, frontends: Vec::new(), contested: Vec::new(), slots: Vec::new() };
    let (mut lost, mut seen) = (Vec::new(), BTreeSet::new());
    for frontend in frontends(draft, &service.wish) {
        let Some(key) = service.key(&frontend).filter(|key| seen.insert(*key)) else { continue };
        let other = draft.state.frontends.get(&key).filter(|holder| **holder != service.wish.name);
        let holder = other.map(|other| format!("service {other}")).or_else(|| match frontend.kind {
            FrontendKind::Cluster => None,
            _ => port::publisher(&draft.state, key),
        });
        match holder {
            Some(holder) => {
                lost.push((key, holder));
                service.contested.push(frontend);
            }
            None => service.frontends.push(frontend),
        }
    }
    service.slots = all_slots(draft, &service, old);
    (service, lost)
}

/// Where a service is to be asked.
fn frontends(draft: &Draft, wish: &ServiceWish) -> Vec<Frontend> {
    let nodes = draft.state.cluster.as_ref().map_or(&[][..], |cluster| &cluster.node_addresses);
    let mut frontends = Vec::new();
    for (port, of) in wish.ports.iter().zip(0..) {
        let mut add = |kind, address: &IpAddr, port| frontends.push(Frontend { kind, address: *address, port, of });
        wish.cluster_addresses.iter().for_each(|address| add(FrontendKind::Cluster, address, port.port));
        wish.external_addresses.iter().for_each(|address| add(FrontendKind::External, address, port.port));
        wish.balancer_addresses.iter().for_each(|address| add(FrontendKind::Balancer, address, port.port));
        // A family in which it has no endpoints is none of the service's.
        let is_its = |address: &&IpAddr| wish.cluster_addresses.iter().any(|own| own.is_ipv4() == address.is_ipv4());
        if let Some(node_port) = port.node_port {
            nodes.iter().filter(is_its).for_each(|address| add(FrontendKind::Node, address, node_port));
            if nodes.iter().any(IpAddr::is_loopback) && port.protocol != Protocol::Sctp {
                add(FrontendKind::Loopback, &Ipv6Addr::LOCALHOST.into(), node_port);
            }
        }
    }
    frontends
}

fn all_slots(draft: &Draft, service: &Service, old: Option<&Service>) -> Vec<Slots> {
    let wished: BTreeSet<_> = service.led().map(|frontend| (frontend.of, Family::of(frontend.address))).collect();
    let wish = &service.wish;
    let apart = wish.internal == TrafficPolicy::Local || wish.external == TrafficPolicy::Local;
    let (entries, none) = (entries(draft, &wish.name), Entries::new());
    let mut all = Vec::new();
    for (of, family) in wished {
        let port = &wish.ports[usize::from(of)];
        let is_same = |old: &&Service| old.wish.ports.get(usize::from(of)).is_some_and(|was| was.name == port.name);
        let was = old.filter(is_same).and_then(|old| old.slots_of(of, family));
        let entries = entries.get(&(port.name.as_str(), port.protocol, family)).unwrap_or(&none);
        let chosen = slots::choose(entries, wish.unready, apart);
        let placed = slots::place(&chosen, was, wish.affinity);
        all.push(Slots { of, family, ..placed });
    }
    all
}

/// Endpoints at one port.
type Entries = BTreeMap<SocketAddr, Entry>;

/// The endpoints of a service, by the name and the protocol of their port, and by family.
fn entries<'d>(draft: &'d Draft, service: &'d NamespacedName) -> BTreeMap<(&'d str, Protocol, Family), Entries> {
    let mut entries = BTreeMap::<_, Entries>::new();
    for slice in draft.state.slices_of(service) {
        for port in &slice.ports {
            for end in &slice.endpoints {
                let at = entries.entry((port.name.as_str(), port.protocol, Family::of(end.address))).or_default();
                let entry = Entry { condition: end.condition, place: end.place, meant: end.meant };
                at.insert(SocketAddr::new(end.address, port.port), entry);
            }
        }
    }
    entries
}

fn check(wish: &ServiceWish) -> Result<(), String> {
    let addresses = [&wish.cluster_addresses, &wish.external_addresses, &wish.balancer_addresses];
    if let Some(address) = addresses.into_iter().flatten().find(|address| !can_be_led(**address)) {
        return Err(format!("{address} cannot be the address of a service"));
    }
    let mut ports = BTreeSet::new();
    for port in &wish.ports {
        if port.port == 0 || port.node_port == Some(0) {
            return Err("a port is 0: ports are 1 to 65535".to_owned());
        }
        if !ports.insert((port.protocol, port.port)) {
            return Err(format!("port {}/{} is there twice", port.port, port.protocol));
        }
    }
    match wish.affinity {
        Affinity::ClientIp { timeout_s } if !(1..=86_400).contains(&timeout_s) => {
            Err(format!("an affinity of {timeout_s} s: it must be 1 to 86400"))
        }
        _ if wish.ports.len() > usize::from(u16::MAX) => Err("it has too many ports".to_owned()),
        _ => Ok(()),
    }
}

fn check_slice(slice: &EndpointSlice) -> Result<(), String> {
    if let Some(end) = slice.endpoints.iter().find(|end| !can_be_led(end.address)) {
        return Err(format!("{} cannot be the address of an endpoint", end.address));
    }
    if slice.ports.iter().any(|port| port.port == 0) {
        return Err("a port is 0: ports are 1 to 65535".to_owned());
    }
    Ok(())
}

fn can_be_led(address: IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(address.is_unspecified() || address.is_loopback() || address.is_multicast() || link_local)
}

/// An object is left as it was, and those who watch are told why.
fn tell(draft: &mut Draft, name: &NamespacedName, why: String) {
    draft.tell(Event::quarantine(draft.facts.now_ms, name, why));
}

/// So that what the kernel is told stays within bounds.
const _: () = assert!(crate::service::SLOTS_MAX < 1 << 12);
