//! Who reaches whom: in every scenario packets go from everybody to everybody, and what becomes of them is in `reach`.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{
    State,
    address::Family,
    port::Protocol,
    sandbox::{Namespace, Up},
};
use netstate::{
    NetState,
    addr::AddrKey,
    link::LinkKey,
    netns::NetnsName,
    trace::{End, Origin, Packet, Surroundings, trace},
};

use crate::{
    golden::{folders, golden, named},
    steps::Stage,
};

#[test]
fn everybody_reaches_whom_they_should() {
    for folder in folders() {
        let mut stage = Stage::default();
        for line in fs::read_to_string(folder.join("steps")).unwrap().lines() {
            stage.play(line);
        }
        golden(folder.join("reach"), &named(&stage, &matrix(&stage.state)));
    }
}

/// A neighbour of the host, on its uplink.
const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 99)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99))];
/// The host's own addresses.
const HOST: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

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

fn matrix(state: &State) -> String {
    let net = plan::desired(state).net;
    let around = surroundings();
    let targets = targets(state);
    let mut text = String::new();
    for source in sources(state) {
        for target in &targets {
            let own = source.addresses[usize::from(target.address.is_ipv6())];
            // Loopback addresses are each namespace's own; ::1 never comes in by a wire (RFC 4291, 2.5.3).
            let elsewhere = target.address.is_loopback() && source.name != "host";
            if source.name == target.name || (elsewhere && (source.name != "outside" || target.address.is_ipv6())) {
                continue;
            }
            let packet = Packet {
                from: source.from.clone(),
                source: own,
                source_port: 50_000,
                destination: target.address,
                port: target.port,
                proto: target.protocol.number(),
            };
            let at = format!("{}:{}/{}", bracketed(target.address), target.port, target.protocol);
            writeln!(text, "{} -> {} {at} {}", source.name, target.name, fate(&net, &around, &packet)).unwrap();
        }
    }
    text
}

fn surroundings() -> Surroundings {
    let link = |name: &str| LinkKey { netns: NetnsName::Host, name: name.parse().unwrap() };
    let addr = |name: &str, address: &str| AddrKey { link: link(name), address: address.parse().unwrap() };
    let uplink = ["192.0.2.1/24", "192.0.2.7/24", "192.0.2.9/24", "2001:db8::1/64"].map(|a| addr("uplink0", a));
    let loopback = ["127.0.0.1/8", "::1/128"].map(|a| addr("lo", a));
    Surroundings { addrs: uplink.into_iter().chain(loopback).collect(), ..Surroundings::default() }
}

fn sources(state: &State) -> Vec<Source> {
    let up = state.sandboxes.values().filter(|sandbox| sandbox.up == Up::Up && sandbox.namespace == Namespace::Own);
    let mut sources: Vec<_> = up
        .map(|sandbox| Source {
            name: sandbox.names[0].clone(),
            from: Origin::Socket(NetnsName::named(sandbox.id.short())),
            addresses: [None, None],
        })
        .collect();
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let uplink = LinkKey { netns: NetnsName::Host, name: "uplink0".parse().unwrap() };
    sources.push(Source { name: "host".into(), from: Origin::Socket(NetnsName::Host), addresses: [None, None] });
    sources.push(Source { name: "outside".into(), from: Origin::Wire(uplink), addresses: OUTSIDE.map(Some) });
    sources
}

fn targets(state: &State) -> Vec<Target> {
    let mut targets = Vec::new();
    let mut add = |name: &str, address, port, protocol| {
        targets.push(Target { name: name.to_owned(), address, port, protocol });
    };
    for sandbox in state.sandboxes.values() {
        for endpoint in state.endpoints_of(&sandbox.id) {
            for address in Family::BOTH.iter().filter_map(|family| endpoint.lease.as_ref()?.address(*family)) {
                add(&sandbox.names[0], address.addr(), 80, Protocol::Tcp);
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
    OUTSIDE.into_iter().for_each(|address| add("outside", address, 80, Protocol::Tcp));
    targets.sort_by(|a, b| (&a.name, a.address, a.port, a.protocol).cmp(&(&b.name, b.address, b.port, b.protocol)));
    targets
}

fn bracketed(address: IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// `ok` with where it arrives and whom it sees, or why not.
fn fate(net: &NetState, around: &Surroundings, packet: &Packet) -> String {
    let trace = trace(net, around, packet);
    let back = trace.back.as_ref().map(|leg| &leg.end);
    match (&trace.there.end, back) {
        (End::Dropped(cause), _) => format!("no: {cause}"),
        (_, Some(End::Dropped(cause))) => format!("no answer: {cause}"),
        (End::Delivered { netns, tuple, .. }, _) => format!("ok: {netns}:{} sees {}", tuple.port, tuple.source),
        (End::Left { tuple, .. }, _) => format!("ok: the wire sees {}", tuple.source),
    }
}
