//! Everybody asks everybody: containers, the host and its neighbour outside, for whatever a scenario has at its end. `plan` traces the
//! packets, `kernel` sends them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{
    Sandbox, State,
    address::Family,
    port::Protocol,
    sandbox::{Namespace, Up},
};
use netstate::{
    addr::AddrKey,
    link::LinkKey,
    netns::NetnsName,
    trace::{Origin, Packet, Surroundings},
};

/// The host's link that is not linkspan's.
pub const UPLINK: &str = "uplink0";
/// What it has there.
pub const UPLINK_ADDRESSES: [&str; 4] = ["192.0.2.1/24", "192.0.2.7/24", "192.0.2.9/24", "2001:db8::1/64"];
/// A neighbour of the host, on its uplink.
pub const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99))];
/// The host's own addresses.
pub const HOST: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// Whether one reaches the other.
#[derive(Clone, Debug)]
pub struct Question {
    /// The container's name, `host` or `outside`.
    pub source: String,
    /// The container's name, `outside`, or `published`.
    pub target: String,
    pub protocol: Protocol,
    pub packet: Packet,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Packet { destination, port, .. } = self.packet;
        let at = if destination.is_ipv6() { format!("[{destination}]") } else { destination.to_string() };
        write!(f, "{} -> {} {at}:{port}/{}", self.source, self.target, self.protocol)
    }
}

/// All questions, in order.
pub fn questions(state: &State) -> Vec<Question> {
    let targets = targets(state);
    let mut questions = Vec::new();
    for source in sources(state) {
        for target in &targets {
            // Loopback addresses are each namespace's own; ::1 never comes in by a wire (RFC 4291, 2.5.3).
            let elsewhere = target.address.is_loopback() && source.name != "host";
            if source.name == target.name || (elsewhere && (source.name != "outside" || target.address.is_ipv6())) {
                continue;
            }
            questions.push(ask(&source, target));
        }
    }
    questions
}

/// What the host has that is not linkspan's.
pub fn surroundings() -> Surroundings {
    let link = |name: &str| LinkKey { netns: NetnsName::Host, name: name.parse().unwrap() };
    let addr = |name: &str, address: &str| AddrKey { link: link(name), address: address.parse().unwrap() };
    let uplink = UPLINK_ADDRESSES.map(|a| addr(UPLINK, a));
    let loopback = ["127.0.0.1/8", "::1/128"].map(|a| addr("lo", a));
    Surroundings { addrs: uplink.into_iter().chain(loopback).collect(), ..Surroundings::default() }
}

struct Source {
    name: String,
    from: Origin,
    addresses: [Option<IpAddr>; 2],
}

struct Target {
    name: String,
    address: IpAddr,
    port: u16,
    protocol: Protocol,
}

fn ask(source: &Source, target: &Target) -> Question {
    let packet = Packet {
        from: source.from.clone(),
        source: source.addresses[usize::from(target.address.is_ipv6())],
        source_port: 50_000,
        destination: target.address,
        port: target.port,
        proto: target.protocol.number(),
    };
    Question { source: source.name.clone(), target: target.name.clone(), protocol: target.protocol, packet }
}

fn sources(state: &State) -> Vec<Source> {
    let up = state.sandboxes.values().filter(|sandbox| sandbox.up == Up::Up && sandbox.namespace == Namespace::Own);
    let mut sources: Vec<_> = up
        .map(|sandbox| Source {
            name: name(sandbox).to_owned(),
            from: Origin::Socket(NetnsName::named(sandbox.id.short())),
            addresses: [None, None],
        })
        .collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let uplink = LinkKey { netns: NetnsName::Host, name: UPLINK.parse().unwrap() };
    sources.push(Source { name: "host".into(), from: Origin::Socket(NetnsName::Host), addresses: [None, None] });
    sources.push(Source { name: "outside".into(), from: Origin::Wire(uplink), addresses: OUTSIDE.map(Some) });
    sources
}

/// A container's name; a pod's is its host name.
fn name(sandbox: &Sandbox) -> &str {
    sandbox.names.first().unwrap_or(&sandbox.hostname)
}

fn targets(state: &State) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |name: &str, address, port, protocol| {
        targets.push(Target { name: name.to_owned(), address, port, protocol });
    };
    for sandbox in state.sandboxes.values() {
        for endpoint in state.endpoints_of(&sandbox.id) {
            for address in Family::BOTH.iter().filter_map(|family| endpoint.lease.as_ref()?.address(*family)) {
                add(name(sandbox), address.addr(), 80, Protocol::Tcp);
            }
        }
        for port in &sandbox.published {
            let any = port.host_ip.is_unspecified();
            let hosts = HOST.iter().filter(|host| any && host.is_ipv4() == port.host_ip.is_ipv4()).copied();
            for host in hosts.chain([port.host_ip]).filter(|host| !host.is_unspecified()) {
                add("published", host, port.host.last, port.protocol);
            }
        }
    }
    for service in state.services.values() {
        for (address, protocol, port) in service.frontends.iter().filter_map(|frontend| service.key(frontend)) {
            add("service", address, port, protocol);
        }
    }
    OUTSIDE.into_iter().for_each(|address| add("outside", address, 80, Protocol::Tcp));
    targets.sort_by(|a, b| (&a.name, a.address, a.port, a.protocol).cmp(&(&b.name, b.address, b.port, b.protocol)));
    targets
}
