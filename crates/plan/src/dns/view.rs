//! What one sandbox sees: its networks in order of preference, and what becomes of a name that none of them knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use model::endpoint::{Link, LinkTarget};
use model::network::{Bridge, Names, Reach};
use model::sandbox::{DnsWish, Namespace};
use model::{Endpoint, Network, NetworkId, Sandbox, SandboxId, State};

use super::resolv_conf::{EMBEDDED, ResolvConf, Source, Wanted};

/// The resolver of one sandbox, as data.
///
/// Networks are referred to by key, so a name that comes or goes on a network changes no view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsView {
    /// The first network that knows a name answers.
    pub networks: Vec<Attached>,
    /// What becomes of names that belong to none of the networks.
    pub forward: Forward,
    /// What becomes of such a name when it has one label only.
    pub unqualified: Unqualified,
}

/// One network of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The network, whose [`NetworkNames`](super::NetworkNames) are kept apart.
    pub network: NetworkId,
    /// Names that this sandbox alone uses for others (`--link db:database`): lower case alias to the name on the network.
    pub links: BTreeMap<String, String>,
}

/// Where names of the outside are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// Ask these servers, each when the one before it failed.
    Upstream(Vec<Upstream>),
    /// The sandbox has no way out (all its networks are internal), so neither have its queries: SERVFAIL.
    Refuse,
}

/// A server outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// Where it is.
    pub address: SocketAddr,
    /// Whose network leads there.
    pub by: Way,
}

/// Whose network leads to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The host's.
    Host,
    /// The sandbox's own.
    Sandbox,
}

/// Treatment of an unknown name without a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unqualified {
    /// Forward it like any other: `ndots` was not chosen by anybody, so the client will not try the search list by itself.
    Forward,
    /// Answer "no such data": somebody set `ndots`, and the client goes on with its search list.
    Keep,
}

/// The view of a sandbox, given the host's resolv.conf; none if it has no embedded server, being on no network with names.
pub fn dns_view(state: &State, sandbox: &SandboxId, host: &ResolvConf) -> Option<DnsView> {
    let sandbox = state.sandboxes.get(sandbox)?;
    let places = places(state, sandbox);
    if !has_embedded_server(&places) {
        return None;
    }
    let wanted = wanted(state, sandbox, host);
    let networks = places.iter().filter(|place| place.bridge.names == Names::Dns);
    Some(DnsView {
        networks: networks.map(|place| attached(state, place)).collect(),
        forward: forward(&places, &wanted),
        unqualified: wanted.unqualified(),
    })
}

/// The host's own servers, asked by the host.
pub fn host_servers(host: &ResolvConf) -> impl Iterator<Item = Upstream> + '_ {
    let server = |ip: &IpAddr| Upstream { address: (*ip, 53).into(), by: Way::Host };
    host.servers.iter().map(server).take(MAX_SERVERS)
}

/// The most servers that one query may try, as in the C library (`MAXNS`).
const MAX_SERVERS: usize = 3;

/// A sandbox's place on a bridge network.
pub(super) struct Place<'s> {
    pub endpoint: &'s Endpoint,
    pub network: &'s Network,
    pub bridge: &'s Bridge,
}

/// The places of a sandbox with a namespace of its own: those with a way out first, then by priority, then by name.
pub(super) fn places<'s>(state: &'s State, sandbox: &'s Sandbox) -> Vec<Place<'s>> {
    if sandbox.namespace == Namespace::Host {
        return Vec::new();
    }
    let place = |endpoint: &'s Arc<Endpoint>| {
        let network = state.networks.get(&endpoint.network)?;
        Some(Place { endpoint, network, bridge: network.bridge()? })
    };
    let mut places: Vec<_> = state.endpoints_of(&sandbox.id).filter_map(place).collect();
    places.sort_by_key(|place| {
        let internal = place.bridge.reach == Reach::Internal;
        (internal, std::cmp::Reverse(place.endpoint.wish.gateway_priority), &place.network.name)
    });
    places
}

pub(super) fn has_embedded_server(places: &[Place<'_>]) -> bool {
    places.iter().any(|place| place.bridge.names == Names::Dns)
}

/// What the host's file, the daemon's settings and the sandbox's wish make together.
pub(super) fn wanted(state: &State, sandbox: &Sandbox, host: &ResolvConf) -> Wanted {
    let unsaid = DnsWish::default();
    let daemon = state.settings.as_ref().map_or(&unsaid, |settings| &settings.dns);
    Wanted::new(host, daemon, &sandbox.dns)
}

fn attached(state: &State, place: &Place<'_>) -> Attached {
    let target = |link: &Link| {
        let name = match &link.to {
            LinkTarget::Container(id) => &state.containers.get(id)?.name,
            LinkTarget::Name(name) => name,
        };
        Some((link.alias.to_ascii_lowercase(), name.to_ascii_lowercase()))
    };
    Attached { network: place.network.id.clone(), links: place.endpoint.wish.links.iter().filter_map(target).collect() }
}

/// A server is asked by the sandbox's own network where that leads there, so that who reaches it is the same for names as for all
/// else. The host's loopback can only be reached from the host, and so can a server of a family that the sandbox has no way out in.
/// A sandbox without a way out may ask servers that an option names, on its own networks and its own loopback.
fn forward(places: &[Place<'_>], wanted: &Wanted) -> Forward {
    let outside = places.iter().any(|place| place.bridge.reach == Reach::Outside);
    let leads = |server: &IpAddr| places.iter().any(|place| place.holds(server) || place.leads_outside_to(server));
    let way = |server: &IpAddr| match (wanted.servers_from, server.is_loopback()) {
        // Asking ourselves would go on for ever.
        (Source::Override, true) => (*server != EMBEDDED).then_some(Way::Sandbox),
        (Source::Override, false) if leads(server) => Some(Way::Sandbox),
        (Source::Host, false) if outside && leads(server) => Some(Way::Sandbox),
        (Source::Host | Source::Override, _) => outside.then_some(Way::Host),
    };
    let upstream = |ip: &IpAddr| Some(Upstream { address: (*ip, 53).into(), by: way(ip)? });
    let servers: Vec<_> = wanted.servers.iter().filter_map(upstream).take(MAX_SERVERS).collect();
    if servers.is_empty() && !outside { Forward::Refuse } else { Forward::Upstream(servers) }
}

impl Place<'_> {
    fn holds(&self, address: &IpAddr) -> bool {
        [&self.bridge.ipv4, &self.bridge.ipv6].into_iter().flatten().any(|subnet| subnet.net.contains(address))
    }

    /// Whether the network has a way out in the address's family.
    fn leads_outside_to(&self, address: &IpAddr) -> bool {
        let subnet = if address.is_ipv4() { &self.bridge.ipv4 } else { &self.bridge.ipv6 };
        self.bridge.reach == Reach::Outside && subnet.is_some()
    }
}

impl Default for DnsView {
    fn default() -> Self {
        Self { networks: Vec::new(), forward: Forward::Refuse, unqualified: Unqualified::Forward }
    }
}
