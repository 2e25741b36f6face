//! Published ports as they are shown: one entry for each port, though they are kept as ranges.

use std::collections::{BTreeMap, BTreeSet};

use model::{
    Container, Sandbox,
    port::{PortRange, Protocol, PublishedPort},
};
use serde_json::{Value, json};

use super::create::{exposed_port, exposed_ranges};
use crate::wire::port::ExposedPorts;

/// The `Ports` of an inspect: `80/tcp` to its places on the host; null for a port that is only exposed.
pub(crate) fn map(container: &Container, exposed: &ExposedPorts, sandbox: &Sandbox) -> Value {
    if !container.is_live() {
        return json!({});
    }
    let mut ports: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in exposed_ranges(exposed).flatten().flat_map(each) {
        ports.entry(port).or_default();
    }
    for published in &sandbox.published {
        for (inside, host) in pairs(published) {
            let place = json!({ "HostIp": published.host_ip, "HostPort": host.to_string() });
            ports.entry(format!("{inside}/{}", published.protocol)).or_default().push(place);
        }
    }
    let null_if_empty = |places: Vec<Value>| if places.is_empty() { Value::Null } else { Value::Array(places) };
    ports.into_iter().map(|(port, places)| (port, null_if_empty(places))).collect::<serde_json::Map<_, _>>().into()
}

/// The `Ports` of a list.
pub(crate) fn list(container: &Container, exposed: &ExposedPorts, sandbox: &Sandbox) -> Vec<Value> {
    if !container.is_live() {
        return Vec::new();
    }
    let mut ports = Vec::new();
    let inside = |port: &PublishedPort| {
        let protocol = port.protocol;
        (port.inside.first..=port.inside.last).map(move |inside| (protocol, inside))
    };
    let published: BTreeSet<_> = sandbox.published.iter().flat_map(inside).collect();
    for (range, protocol) in exposed_ranges(exposed).flatten() {
        for inside in range.first..=range.last {
            if !published.contains(&(protocol, inside)) {
                ports.push(json!({ "PrivatePort": inside, "Type": protocol }));
            }
        }
    }
    for published in &sandbox.published {
        for (inside, host) in pairs(published) {
            ports.push(json!({
                "IP": published.host_ip, "PrivatePort": inside, "PublicPort": host, "Type": published.protocol,
            }));
        }
    }
    ports
}

/// Whether a filter's `80`, `80/tcp` or `80-90/udp` has a port in common with the range.
pub(crate) fn fits(filter: &str, range: PortRange, protocol: Protocol) -> bool {
    exposed_port(filter).is_ok_and(|(wanted, of)| of == protocol && wanted.overlaps(range))
}

fn each((range, protocol): (PortRange, Protocol)) -> impl Iterator<Item = String> {
    (range.first..=range.last).map(move |port| format!("{port}/{protocol}"))
}

fn pairs(published: &PublishedPort) -> impl Iterator<Item = (u16, u16)> {
    let inside = published.inside.first..=published.inside.last;
    inside.zip(published.host.first..=published.host.last)
}
