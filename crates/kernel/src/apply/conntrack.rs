//! What is left in the connection table when a published UDP port comes, goes or moves. UDP has no end of a connection: a client that
//! goes on sending keeps its flow where it was first led, to a container that is gone or to the host itself.
//!
//! TCP needs nothing: what answers no more is reset, and a new connection is looked up anew.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

use netstate::{
    Key, Op,
    netns::NetnsName,
    nft::{ElementKey, Span, Value},
};

use crate::linux::Linux;

const UDP: Value = Value::Proto(17);

/// Addresses and ports at which UDP is now led elsewhere.
struct Service {
    addresses: RangeInclusive<Value>,
    ports: RangeInclusive<u16>,
}

/// Forgets the flows of the services that the operations were about. What cannot be forgotten ends by itself, half a minute after its
/// last packet, so a failure here is none of the plan's.
pub(crate) fn forget_stale(linux: &Linux, done: &[Op]) {
    let mut services: BTreeMap<&NetnsName, Vec<Service>> = BTreeMap::new();
    for op in done {
        if let Key::Element(key) = op.key()
            && let Some(service) = service(key)
        {
            services.entry(&key.set.table.netns).or_default().push(service);
        }
    }
    for (netns, services) in services {
        let is_stale = |asked: SocketAddr| services.iter().any(|service| service.has(asked));
        let _ = linux.conntrack(netns).and_then(|mut conntrack| conntrack.forget_udp(is_stale));
    }
}

/// The UDP service of an element: of any set or map by address, protocol and port.
fn service(key: &ElementKey) -> Option<Service> {
    let [address, protocol, port] = key.key.as_slice() else { return None };
    let Span { first: Value::Port(first), last: Value::Port(last) } = port else { return None };
    let is_udp = protocol.first <= UDP && UDP <= protocol.last;
    is_udp.then(|| Service { addresses: address.first.clone()..=address.last.clone(), ports: *first..=*last })
}

impl Service {
    fn has(&self, asked: SocketAddr) -> bool {
        let address = match asked.ip() {
            IpAddr::V4(ip) => Value::Ipv4(ip),
            IpAddr::V6(ip) => Value::Ipv6(ip),
        };
        self.addresses.contains(&address) && self.ports.contains(&asked.port())
    }
}
