//! Published ports: one element for a range whose ports stay the same, however long; one for each port when they change.

use model::{
    Sandbox, State,
    address::Family,
    host::DirectRouting,
    network::{Bridge, GatewayMode},
    port::{PortRange, PortWish, Protocol, PublishedPort},
};
use netstate::nft::{Span, Value};

use crate::{
    fragment::{Fragment, address, host_address, net, ports},
    listener::{Clients, Forwarding, forwardings},
    names,
};

/// Adds the elements for a sandbox's ports.
pub fn publish(fragment: &mut Fragment, state: &State, sandbox: &Sandbox) {
    for port in &sandbox.published {
        translate(fragment, state, sandbox, port);
    }
    for forwarding in forwardings(state, &sandbox.id) {
        proxied(fragment, &forwarding);
    }
    for family in Family::BOTH {
        open(fragment, state, sandbox, family);
    }
}

/// Adds the element that leads to a userspace listener.
pub fn proxied(fragment: &mut Fragment, forwarding: &Forwarding) {
    let names = names::of(Family::of(forwarding.address));
    let asked = [host_address(forwarding.address), protocol(forwarding.protocol), ports(forwarding.ports)];
    match forwarding.clients {
        Clients::All => fragment.member(names.proxied, asked),
        Clients::Within(subnet) => {
            let [address, protocol, ports] = asked;
            fragment.member(names.proxied_within, [net(subnet), address, protocol, ports]);
        }
    }
}

fn translate(fragment: &mut Fragment, state: &State, sandbox: &Sandbox, port: &PublishedPort) {
    let family = Family::of(port.host_ip);
    // Without an address of the family a userspace listener serves it; so it does at ::1, which is never translated.
    let Some(target) = inside(state, sandbox, family) else { return };
    if port.host_ip.is_loopback() && family == Family::V6 {
        return;
    }
    let names = names::of(family);
    let key = |range| [host_address(port.host_ip), protocol(port.protocol), ports(range)];
    if port.host == port.inside {
        return fragment.mapping(names.publish, key(port.host), [target]);
    }
    for (host, inside) in (port.host.first..=port.host.last).zip(port.inside.first..=port.inside.last) {
        let host = PortRange::single(host);
        fragment.mapping(names.publish_to, key(host), [target.clone(), Value::Port(inside)]);
    }
}

/// Opens the ports inside for direct access, in a family that is routed or where the settings allow it.
fn open(fragment: &mut Fragment, state: &State, sandbox: &Sandbox, family: Family) {
    let Some((_, _, bridge)) = state.gateway(&sandbox.id, family) else { return };
    let Some(target) = inside(state, sandbox, family).filter(|_| is_direct(state, bridge, family)) else { return };
    let of_family = |wish: &&PortWish| wish.host_ip.is_none_or(|ip| Family::of(ip) == family);
    for (proto, range) in union(sandbox.ports.iter().filter(of_family).map(|wish| (wish.protocol, wish.inside))) {
        fragment.member(names::of(family).open, [target.clone().into(), protocol(proto), ports(range)]);
    }
}

/// The ranges with those that overlap joined: elements of a set must not overlap.
fn union(ranges: impl Iterator<Item = (Protocol, PortRange)>) -> Vec<(Protocol, PortRange)> {
    let mut ranges: Vec<_> = ranges.collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 == kept.0 && next.1.overlaps(kept.1);
        kept.1.last = if overlaps { kept.1.last.max(next.1.last) } else { kept.1.last };
        overlaps
    });
    ranges
}

fn is_direct(state: &State, bridge: &Bridge, family: Family) -> bool {
    let allowed = state.settings.as_ref().is_some_and(|settings| settings.direct_routing == DirectRouting::Allowed);
    allowed || bridge.gateway_mode(family) == GatewayMode::Routed
}

fn inside(state: &State, sandbox: &Sandbox, family: Family) -> Option<Value> {
    let (endpoint, _, _) = state.gateway(&sandbox.id, family)?;
    endpoint.lease.as_ref()?.address(family).map(|net| address(net.addr()))
}

fn protocol(protocol: Protocol) -> Span {
    Value::Proto(protocol.number()).into()
}
