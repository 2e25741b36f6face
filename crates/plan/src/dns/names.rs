//! The names of one network. Every sandbox on the network reads the same table, and an endpoint that comes or goes changes its
//! own few entries only: a copy of the table shares all the rest with the old one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use imbl::OrdMap;
use model::address::Family;
use model::endpoint::Lease;
use model::{Endpoint, NetworkId, State};

/// What one endpoint contributes to its network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointNames {
    /// The sandbox's names, the endpoint's aliases and the host name, in that order. The first one that DNS can carry is what a
    /// reverse lookup answers with.
    pub names: Vec<String>,
    /// Addresses of the endpoint on this network.
    pub addresses: Vec<IpAddr>,
}

/// Name to addresses and address to name, for one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkNames {
    network: Arc<str>,
    addresses: OrdMap<Arc<str>, Arc<Addresses>>,
    pointers: OrdMap<IpAddr, Arc<str>>,
}

/// The addresses behind one name, each family in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// Answers to A.
    pub v4: Vec<Ipv4Addr>,
    /// Answers to AAAA.
    pub v6: Vec<Ipv6Addr>,
}

/// All names of a network; none if there is no such network.
pub fn network_names(state: &State, network: &NetworkId) -> Option<NetworkNames> {
    let mut names = NetworkNames::new(&state.networks.get(network)?.name);
    state.endpoints_on(network).for_each(|endpoint| names.insert(&endpoint_names(state, endpoint)));
    Some(names)
}

/// The names of one endpoint. While it has no lease it has no addresses, and then its names do not resolve.
pub fn endpoint_names(state: &State, endpoint: &Endpoint) -> EndpointNames {
    let Some((sandbox, lease)) = state.sandboxes.get(&endpoint.sandbox).zip(endpoint.lease.as_ref()) else {
        return EndpointNames::default();
    };
    let mut names: Vec<String> = Vec::new();
    for name in sandbox.names.iter().chain(&endpoint.wish.aliases).chain([&sandbox.hostname]) {
        if !name.is_empty() && !names.contains(name) {
            names.push(name.clone());
        }
    }
    EndpointNames { names, addresses: addresses(lease).collect() }
}

/// The addresses of a lease, IPv4 first.
pub(super) fn addresses(lease: &Lease) -> impl Iterator<Item = IpAddr> {
    [Family::V4, Family::V6].into_iter().filter_map(|family| lease.address(family)).map(|net| net.addr())
}

impl NetworkNames {
    /// An empty table for the network of that name.
    pub fn new(network: &str) -> Self {
        Self { network: network.into(), addresses: OrdMap::new(), pointers: OrdMap::new() }
    }

    /// The network's own name: the suffix in `web.backend`.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Adds an endpoint. Several endpoints may share a name; it then has all their addresses.
    pub fn insert(&mut self, endpoint: &EndpointNames) {
        if endpoint.addresses.is_empty() {
            return;
        }
        for name in &endpoint.names {
            let entry = Arc::make_mut(self.addresses.entry(key(name)).or_default());
            endpoint.addresses.iter().for_each(|address| entry.insert(*address));
        }
        if let Some(name) = endpoint.names.iter().find(|name| fits_in_dns(name)) {
            let pointer: Arc<str> = format!("{name}.{}", self.network).into();
            for address in &endpoint.addresses {
                self.pointers.insert(*address, pointer.clone());
            }
        }
    }

    /// Takes an endpoint's addresses away again; a name goes with its last address.
    pub fn remove(&mut self, endpoint: &EndpointNames) {
        for name in endpoint.names.iter().map(|name| key(name)) {
            let Some(entry) = self.addresses.get_mut(&name).map(Arc::make_mut) else { continue };
            endpoint.addresses.iter().for_each(|address| entry.remove(*address));
            if entry.is_empty() {
                self.addresses.remove(&name);
            }
        }
        for address in &endpoint.addresses {
            self.pointers.remove(address);
        }
    }

    /// The addresses of `name`, which must be in lower case and without a final dot.
    pub fn addresses(&self, name: &str) -> Option<&Arc<Addresses>> {
        self.addresses.get(name)
    }

    /// The full name (`web.backend`) of the endpoint that has `address`.
    pub fn pointer(&self, address: IpAddr) -> Option<&str> {
        self.pointers.get(&address).map(|name| &**name)
    }

    /// All names with their addresses, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Addresses)> {
        self.addresses.iter().map(|(name, addresses)| (&**name, &**addresses))
    }
}

impl Addresses {
    /// True when neither family has an address.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Adds an address.
    pub(super) fn insert(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => insert_sorted(&mut self.v4, address),
            IpAddr::V6(address) => insert_sorted(&mut self.v6, address),
        }
    }

    fn remove(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.v4.retain(|held| *held != address),
            IpAddr::V6(address) => self.v6.retain(|held| *held != address),
        }
    }
}

/// DNS compares names without regard to ASCII case (RFC 4343).
fn key(name: &str) -> Arc<str> {
    name.to_ascii_lowercase().into()
}

fn insert_sorted<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(position) = list.binary_search(&item) {
        list.insert(position, item);
    }
}

/// RFC 1035 section 2.3.4: labels of 1 to 63 octets. Container names may be longer.
fn fits_in_dns(name: &str) -> bool {
    name.len() < 190 && name.split('.').all(|label| (1..=63).contains(&label.len()))
}
