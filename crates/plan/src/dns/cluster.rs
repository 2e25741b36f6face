//! The names of a cluster (Kubernetes DNS-Based Service Discovery, 1.1.0): services, endpoints of headless services, ports, and pods by
//! their address. A service that changes costs its own entries: a copy of the table shares all the rest with the old one.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use imbl::OrdMap;
use ipnet::IpNet;
use model::{
    NamespacedName, Service, State,
    port::Protocol,
    service::{Backend, Condition, Unready},
};

use super::names::Addresses;

/// All names of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterNames {
    /// What all end with, in lower case: `cluster.local`.
    domain: Arc<str>,
    services: OrdMap<NamespacedName, Arc<ServiceNames>>,
    /// How many services each namespace has.
    namespaces: OrdMap<Arc<str>, usize>,
    /// Whose an address is. Of several that claim one the first is told.
    pointers: OrdMap<(IpAddr, Arc<str>), ()>,
    /// Where addresses are of the cluster, and of nobody else.
    ranges: Vec<IpNet>,
}

/// The names of one service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceNames {
    /// Its full name.
    name: Arc<str>,
    /// Its addresses; of a headless service those of its endpoints.
    addresses: Addresses,
    /// Endpoints of a headless service.
    hosts: BTreeMap<Arc<str>, Addresses>,
    ports: Vec<Port>,
    external: Option<Arc<str>>,
    /// Whether the name is there: a headless service without endpoints has none.
    there: bool,
    pointers: Vec<(IpAddr, Arc<str>)>,
}

/// A named port, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Port {
    name: String,
    protocol: Protocol,
    targets: Vec<Target>,
}

/// A place to ask (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its port.
    pub port: u16,
    /// Its full name.
    pub name: Arc<str>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'t> {
    /// These addresses.
    Addresses(&'t Addresses),
    /// This address: it is in the name.
    Address(IpAddr),
    /// A service: its addresses, and its ports.
    Service(&'t ServiceNames),
    /// Another name.
    Alias(&'t str),
    /// These places to ask.
    Targets(Vec<&'t Target>),
    /// An address has this name.
    Pointer(&'t str),
    /// The version of the specification.
    Version(&'static str),
    /// Nothing itself, but there are names below it.
    Empty,
    /// There is no such name.
    Nothing,
}

/// The names of a cluster; none where the host has no name service for one.
pub fn cluster_names(state: &State) -> Option<ClusterNames> {
    let cluster = state.cluster.as_ref()?;
    let domain = cluster.dns.as_ref()?.domain.to_ascii_lowercase();
    let ranges = cluster.service_ranges.clone();
    let mut names = ClusterNames { domain: domain.trim_matches('.').into(), ranges, ..ClusterNames::default() };
    state.services.keys().for_each(|service| names.update(state, service));
    Some(names)
}

impl ClusterNames {
    /// What all names end with.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Takes over what has become of a service.
    pub fn update(&mut self, state: &State, name: &NamespacedName) {
        let namespace = name.parts().0;
        if let Some(old) = self.services.remove(name) {
            for pointer in &old.pointers {
                self.pointers.remove(pointer);
            }
            match self.namespaces.get_mut(namespace) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.namespaces.remove(namespace)),
            }
        }
        let Some(service) = state.services.get(name) else { return };
        let names = service_names(state, service, &self.domain);
        self.pointers.extend(names.pointers.iter().map(|pointer| (pointer.clone(), ())));
        *self.namespaces.entry(namespace.into()).or_default() += 1;
        self.services.insert(name.clone(), Arc::new(names));
    }

    /// What a name stands for, in lower case and without a final dot; none when it is not for this table to say.
    pub fn find(&self, name: &str) -> Option<Found<'_>> {
        let below = name.strip_suffix(&*self.domain)?;
        if below.is_empty() {
            return Some(Found::Empty);
        }
        let mut labels = below.strip_suffix('.')?.rsplit('.');
        let kind = labels.next()?;
        let rest = [labels.next(), labels.next(), labels.next(), labels.next(), labels.next()];
        Some(match (kind, rest) {
            ("dns-version", [None, ..]) => Found::Version("1.1.0"),
            ("svc" | "pod", [None, ..]) => Found::Empty,
            // Who has the address is not asked, as usual (CoreDNS' `pods insecure`); namespaces without services are not known here.
            ("pod", [Some(_), Some(address), None, ..]) => dashed(address).map_or(Found::Nothing, Found::Address),
            ("pod", [Some(_), None, ..]) => Found::Empty,
            ("svc", [Some(namespace), ..]) if !self.namespaces.contains_key(namespace) => Found::Nothing,
            ("svc", [Some(_), None, ..]) => Found::Empty,
            ("svc", [Some(namespace), Some(service), host, port, None]) => {
                let service = self.services.get(&NamespacedName::new(namespace, service)).filter(|names| names.there);
                service.map_or(Found::Nothing, |names| names.find(host, port))
            }
            _ => Found::Nothing,
        })
    }

    /// Whose an address is; none when it is not for this table to say.
    pub fn pointer(&self, address: IpAddr) -> Option<Found<'_>> {
        let known = self.pointers.range((address, Arc::from(""))..).next();
        match known.filter(|((of, _), ())| *of == address) {
            Some(((_, name), ())) => Some(Found::Pointer(name)),
            None => self.ranges.iter().any(|range| range.contains(&address)).then_some(Found::Nothing),
        }
    }
}

impl ServiceNames {
    /// Its addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where all its named ports lead.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.ports.iter().flat_map(|port| &port.targets)
    }

    /// What is below it, from right to left.
    fn find(&self, host: Option<&str>, port: Option<&str>) -> Found<'_> {
        if let Some(external) = &self.external {
            return if host.is_none() { Found::Alias(external) } else { Found::Nothing };
        }
        match (host, port) {
            (None, _) => Found::Service(self),
            (Some(host), None) if !host.starts_with('_') => {
                self.hosts.get(host).map_or(Found::Nothing, Found::Addresses)
            }
            (Some(protocol), port) => {
                let of = |known: &&Port| protocol.strip_prefix('_') == Some(&known.protocol.to_string());
                let mut known = self.ports.iter().filter(of);
                match port {
                    None => known.next().map_or(Found::Nothing, |_| Found::Empty),
                    Some(port) => {
                        let named = known.find(|known| port.strip_prefix('_') == Some(&known.name));
                        named.map_or(Found::Nothing, |known| Found::Targets(known.targets.iter().collect()))
                    }
                }
            }
        }
    }
}

fn service_names(state: &State, service: &Service, domain: &str) -> ServiceNames {
    let wish = &service.wish;
    let (namespace, name) = wish.name.parts();
    let full: Arc<str> = format!("{name}.{namespace}.svc.{domain}").to_ascii_lowercase().into();
    let mut names = ServiceNames { name: Arc::clone(&full), there: true, ..ServiceNames::default() };
    if let Some(external) = &wish.external_name {
        names.external = Some(external.trim_end_matches('.').to_ascii_lowercase().into());
    } else if wish.cluster_addresses.is_empty() {
        headless(&mut names, state, service);
        names.there = !names.hosts.is_empty();
    } else {
        for address in &wish.cluster_addresses {
            names.addresses.insert(*address);
            names.pointers.push((*address, Arc::clone(&full)));
        }
        let named = wish.ports.iter().filter(|port| !port.name.is_empty());
        let port = |port: &model::service::ServicePort| Port {
            name: port.name.to_ascii_lowercase(),
            protocol: port.protocol,
            targets: vec![Target { port: port.port, name: Arc::clone(&full) }],
        };
        names.ports = named.map(port).collect();
    }
    names
}

/// The endpoints themselves, those that are ready: each by its host name, or by its address.
fn headless(names: &mut ServiceNames, state: &State, service: &Service) {
    let serves = |end: &&Backend| end.condition == Condition::Ready || service.wish.unready == Unready::Served;
    let mut ports: BTreeMap<(String, Protocol), Vec<Target>> = BTreeMap::new();
    for slice in state.slices_of(&service.wish.name) {
        for end in slice.endpoints.iter().filter(serves) {
            let own = end.hostname.clone().unwrap_or_else(|| dashes(end.address)).to_ascii_lowercase();
            let full: Arc<str> = format!("{own}.{}", names.name).into();
            names.addresses.insert(end.address);
            names.hosts.entry(own.into()).or_default().insert(end.address);
            names.pointers.push((end.address, Arc::clone(&full)));
            for port in slice.ports.iter().filter(|port| !port.name.is_empty()) {
                let targets = ports.entry((port.name.to_ascii_lowercase(), port.protocol)).or_default();
                let target = Target { port: port.port, name: Arc::clone(&full) };
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
    }
    names.ports = ports.into_iter().map(|((name, protocol), targets)| Port { name, protocol, targets }).collect();
}

/// `10-244-0-7`, `fd00-1--2`
fn dashes(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn dashed(label: &str) -> Option<IpAddr> {
    let v4 = || label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::from);
    let v6 = || label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests;
