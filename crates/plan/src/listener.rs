//! Which published ports a userspace listener serves, because the kernel cannot lead their clients to the container:
//!
//! - the two have different address families, which NAT does not bridge;
//! - the client is the host itself at `::1`: unlike 127.0.0.1, that address may never leave the loopback link, not even translated;
//! - for the same reason node ports of services at `::1`;
//! - the client is on the container's own network, where nobody may talk to another: with br_netfilter a translated frame goes on from
//!   port to port, and there nothing tells it from one that must not pass.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use imbl::OrdMap;
use ipnet::IpNet;
use model::address::Family;
use model::host::Listeners;
use model::network::Icc;
use model::port::{PortRange, Protocol, PublishedPort};
use model::service::{Frontend, FrontendKind};
use model::{NamespacedName, SandboxId, State};

/// One published range that is served by a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// Protocol; SCTP is never served here.
    pub protocol: Protocol,
    /// The host address that clients ask for; unspecified means all of that family.
    pub address: IpAddr,
    /// The ports that clients ask for.
    pub ports: PortRange,
    /// Where the first of them leads; the others follow in order.
    pub target: SocketAddr,
    /// Whom it serves.
    pub clients: Clients,
}

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Everybody.
    All,
    /// Those of a subnet; NAT leads everybody else.
    Within(IpNet),
}

/// The forwardings of one sandbox while it is up, in order of its published ports.
pub fn forwardings(state: &State, sandbox: &SandboxId) -> Vec<Forwarding> {
    if are_off(state) {
        return Vec::new();
    }
    let published = state.sandboxes.get(sandbox).map_or(&[][..], |sandbox| &sandbox.published);
    let inside = Inside::of(state, sandbox);
    published.iter().flat_map(|port| inside.forwardings(port)).collect()
}

/// The forwardings of a service's node ports. They lead to the service's own address, and from there the kernel leads on.
pub fn node_ports(state: &State, service: &NamespacedName) -> Vec<Forwarding> {
    let Some(service) = state.services.get(service).filter(|_| !are_off(state)) else { return Vec::new() };
    let at_loopback = service.frontends.iter().filter(|frontend| frontend.kind == FrontendKind::Loopback);
    let forwarding = |frontend: &Frontend| {
        let port = service.wish.ports.get(usize::from(frontend.of))?;
        Some(Forwarding {
            protocol: port.protocol,
            address: frontend.address,
            ports: PortRange::single(frontend.port),
            target: SocketAddr::new(*service.wish.cluster_addresses.first()?, port.port),
            clients: Clients::All,
        })
    };
    at_loopback.filter_map(forwarding).collect()
}

fn are_off(state: &State) -> bool {
    state.settings.as_ref().is_some_and(|settings| settings.listeners == Listeners::Off)
}

/// All forwardings, looked up by the destination that a client asked for. A clone shares everything with its original, so a
/// change costs no more than what it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListenerTable {
    /// By protocol, address and first port. Ranges under one protocol and address do not overlap: the model refuses such.
    ranges: OrdMap<(Protocol, IpAddr, u16), Forwarding>,
}

impl ListenerTable {
    /// Adds a forwarding.
    pub fn insert(&mut self, forwarding: Forwarding) {
        self.ranges.insert(forwarding.key(), forwarding);
    }

    /// Takes a forwarding away.
    pub fn remove(&mut self, forwarding: &Forwarding) {
        self.ranges.remove(&forwarding.key());
    }

    /// Where a client that asked for `destination` is to be led. An exact address goes before all addresses of its family.
    pub fn target(&self, protocol: Protocol, destination: SocketAddr) -> Option<SocketAddr> {
        let (address, port) = (destination.ip(), destination.port());
        [address, unspecified(address)].into_iter().find_map(|address| {
            let until = (protocol, address, port);
            let (_, forwarding) = self.ranges.range(..=until).next_back()?;
            let held =
                forwarding.protocol == protocol && forwarding.address == address && forwarding.ports.contains(port);
            let target = forwarding.target.port().checked_add(port.checked_sub(forwarding.ports.first)?)?;
            held.then(|| SocketAddr::new(forwarding.target.ip(), target))
        })
    }

    /// All forwardings in order of protocol, address and port.
    pub fn iter(&self) -> impl Iterator<Item = &Forwarding> {
        self.ranges.values()
    }

    /// True when nothing needs a listener.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

impl FromIterator<Forwarding> for ListenerTable {
    fn from_iter<I: IntoIterator<Item = Forwarding>>(forwardings: I) -> Self {
        let mut table = Self::default();
        forwardings.into_iter().for_each(|forwarding| table.insert(forwarding));
        table
    }
}

impl Forwarding {
    fn key(&self) -> (Protocol, IpAddr, u16) {
        (self.protocol, self.address, self.ports.first)
    }
}

/// The addresses at which a sandbox's published ports are, and the subnets in which nobody else may be talked to.
struct Inside {
    ipv4: Option<IpAddr>,
    ipv6: Option<IpAddr>,
    strict: Vec<IpNet>,
}

impl Inside {
    fn of(state: &State, sandbox: &SandboxId) -> Self {
        let address = |family| {
            let (endpoint, _, _) = state.gateway(sandbox, family)?;
            Some(endpoint.lease.as_ref()?.address(family)?.addr())
        };
        let strict = |family| {
            let (_, _, bridge) =
                state.gateway(sandbox, family).filter(|(_, _, bridge)| bridge.icc == Icc::LinkedOnly)?;
            Some(bridge.subnet(family)?.net)
        };
        let strict = Family::BOTH.into_iter().filter_map(strict).collect();
        Self { ipv4: address(Family::V4), ipv6: address(Family::V6), strict }
    }

    fn forwardings(&self, port: &PublishedPort) -> impl Iterator<Item = Forwarding> {
        self.for_all(port).into_iter().chain(self.for_its_network(port))
    }

    fn for_its_network(&self, port: &PublishedPort) -> Option<Forwarding> {
        let family = Family::of(port.host_ip);
        let target = if family == Family::V4 { self.ipv4 } else { self.ipv6 };
        let net = self.strict.iter().find(|net| Family::of(net.addr()) == family);
        let led = port.protocol != Protocol::Sctp && !port.host_ip.is_loopback();
        let (target, net) = target.zip(net).filter(|_| led)?;
        let (target, clients) = (SocketAddr::new(target, port.inside.first), Clients::Within(*net));
        Some(Forwarding { protocol: port.protocol, address: port.host_ip, ports: port.host, target, clients })
    }

    fn for_all(&self, port: &PublishedPort) -> Option<Forwarding> {
        let localhost = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let (address, target) = match (port.host_ip, self.ipv4, self.ipv6) {
            (_, _, _) if port.protocol == Protocol::Sctp => return None,
            (IpAddr::V6(ip), _, Some(ipv6)) if ip.is_unspecified() || ip.is_loopback() => (localhost, ipv6),
            (IpAddr::V6(_), Some(ipv4), None) => (port.host_ip, ipv4),
            (IpAddr::V4(_), None, Some(ipv6)) => (port.host_ip, ipv6),
            _ => return None,
        };
        let target = SocketAddr::new(target, port.inside.first);
        Some(Forwarding { protocol: port.protocol, address, ports: port.host, target, clients: Clients::All })
    }
}

fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::fixture::state;

    fn forwarding(protocol: Protocol, address: &str, first: u16, last: u16, target: &str) -> Forwarding {
        Forwarding {
            protocol,
            address: address.parse().unwrap(),
            ports: PortRange { first, last },
            target: target.parse().unwrap(),
            clients: Clients::All,
        }
    }

    /// The fixture's sandbox 2 has both families, sandbox 4 has IPv4 only, sandbox 5 has no way out.
    #[test]
    fn what_the_kernel_cannot_lead() {
        use Protocol::{Sctp, Tcp, Udp};
        for (sandbox, protocol, host_ip, expected) in [
            (4, Tcp, "::", Some("tcp :: 8000-8001 -> 172.17.0.4:80")),
            (4, Udp, "::1", Some("udp ::1 8000-8001 -> 172.17.0.4:80")),
            (4, Tcp, "fd00::7", Some("tcp fd00::7 8000-8001 -> 172.17.0.4:80")),
            (4, Tcp, "0.0.0.0", None),
            (4, Tcp, "127.0.0.1", None),
            (4, Sctp, "::", None),
            (2, Tcp, "::", Some("tcp ::1 8000-8001 -> [fd00:19::2]:80")),
            (2, Udp, "::1", Some("udp ::1 8000-8001 -> [fd00:19::2]:80")),
            (2, Tcp, "fd00::7", None),
            (2, Tcp, "0.0.0.0", None),
            (6, Tcp, "0.0.0.0", Some("tcp 0.0.0.0 8000-8001 -> [fd00:21::6]:80")),
            (6, Tcp, "::", Some("tcp ::1 8000-8001 -> [fd00:21::6]:80")),
            (5, Tcp, "::", None),
            (9, Tcp, "::", None),
        ] {
            let (host, inside) = (PortRange { first: 8000, last: 8001 }, PortRange { first: 80, last: 81 });
            let port = PublishedPort { protocol, host_ip: host_ip.parse().unwrap(), host, inside };
            let id = SandboxId::from_bytes([sandbox; 32]);
            let mut state = state(|_| {});
            if let Some(known) = state.sandboxes.get_mut(&id) {
                std::sync::Arc::make_mut(known).published = vec![port];
            }
            let text = |f: &Forwarding| format!("{} {} {} -> {}", f.protocol, f.address, f.ports, f.target);
            let found: Vec<_> = forwardings(&state, &id).iter().map(text).collect();
            assert_eq!(found, Vec::from_iter(expected), "sandbox {sandbox}: {protocol} {host_ip}");
        }
    }

    #[test]
    fn lookups() {
        use Protocol::{Tcp, Udp};
        let table = ListenerTable::from_iter([
            forwarding(Tcp, "::", 8000, 8010, "172.18.0.2:80"),
            forwarding(Tcp, "::", 9000, 9000, "172.18.0.3:9000"),
            forwarding(Tcp, "::1", 8005, 8005, "172.18.0.4:5"),
            forwarding(Tcp, "0.0.0.0", 7000, 7001, "[fd00::2]:70"),
            forwarding(Tcp, "::", 65000, 65535, "172.18.0.5:65530"),
        ]);
        for (protocol, destination, expected) in [
            (Tcp, "[fd01::9]:8000", Some("172.18.0.2:80")),
            (Tcp, "[fd01::9]:8010", Some("172.18.0.2:90")),
            (Tcp, "[fd01::9]:8011", None),
            (Tcp, "[fd01::9]:7999", None),
            (Tcp, "[::1]:8005", Some("172.18.0.4:5")),
            (Tcp, "[::1]:8006", Some("172.18.0.2:86")),
            (Udp, "[::1]:8006", None),
            (Tcp, "10.0.0.1:7001", Some("[fd00::2]:71")),
            (Tcp, "10.0.0.1:8000", None),
            (Tcp, "[::1]:65535", None),
        ] {
            let found = table.target(protocol, destination.parse().unwrap());
            assert_eq!(found, expected.map(|target| target.parse().unwrap()), "{protocol} {destination}");
        }
    }

    proptest::proptest! {
        /// A lookup finds what a look at every forwarding would, also after some are gone.
        #[test]
        fn lookups_equal_a_search(
            cuts in proptest::collection::btree_set(1..200u16, 2..12),
            gone in proptest::collection::vec(proptest::bool::ANY, 12),
            port in 0..220u16,
        ) {
            let cuts: Vec<_> = cuts.into_iter().collect();
            let all: Vec<_> = cuts
                .windows(2)
                .map(|cut| forwarding(Protocol::Udp, if cut[0] % 3 == 0 { "::1" } else { "::" }, cut[0], cut[1] - 1, "10.0.0.1:9"))
                .collect();
            let mut table = ListenerTable::from_iter(all.clone());
            let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().zip(gone).partition(|(_, gone)| *gone);
            gone.iter().for_each(|(forwarding, _)| table.remove(forwarding));
            let found = table.target(Protocol::Udp, (Ipv6Addr::LOCALHOST, port).into());
            let expected = left.iter().find(|(forwarding, _)| forwarding.ports.contains(port));
            let expected = expected.map(|(forwarding, _)| ([10, 0, 0, 1], 9 + port - forwarding.ports.first).into());
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
