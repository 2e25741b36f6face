//! What is left in the connection table when a published UDP port or a service comes, goes or moves, or an endpoint of a service goes. UDP
//! has no end of a connection: a client that goes on sending keeps its flow where it was first led, to a container that is gone or to the
//! host itself.
//!
//! TCP needs nothing: what answers no more is reset, what still answers goes on, and a new connection is looked up anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
};

use netstate::{
    Key, Object, Op,
    netns::NetnsName,
    nft::{Element, ElementData, ElementKey, Span, Value},
};

use crate::{
    conntrack::{Conntrack, End, Filter},
    linux::Linux,
};

const UDP: Value = Value::Proto(17);
/// The kernel looks through its whole table for each deletion by address. For more than these it is listed once.
const ONE_BY_ONE_MAX: usize = 8;

/// Forgets the flows of the services that the operations were about. What cannot be forgotten ends by itself, half a minute after its
/// last packet, so a failure here is none of the plan's.
pub(crate) fn forget_stale(linux: &Linux, done: &[Op]) {
    for (netns, stale) in stale(done) {
        let _ = linux.conntrack(netns).and_then(|mut conntrack| stale.forget(&mut conntrack));
    }
}

/// What is not led any more as it was.
#[derive(Default)]
struct Stale {
    /// At these addresses and ports all is led elsewhere.
    asked: Vec<Asked>,
    /// At these, what was led to these ends.
    ends: BTreeSet<(SocketAddr, SocketAddr)>,
}

/// Addresses and ports that clients ask for.
struct Asked {
    addresses: RangeInclusive<Value>,
    ports: RangeInclusive<u16>,
}

fn stale(done: &[Op]) -> BTreeMap<&NetnsName, Stale> {
    let mut changes: BTreeMap<&ElementKey, Change<'_>> = BTreeMap::new();
    for op in done {
        let Key::Element(key) = op.key() else { continue };
        if !key.key.get(1).is_some_and(|protocol| protocol.holds(&UDP)) {
            continue;
        }
        let change = changes.entry(key).or_default();
        match op {
            Op::Create { object: Object::Element(element), .. } => change.made = Some(element),
            Op::Change { from: Object::Element(from), to: Object::Element(to), .. } => {
                (change.gone, change.made) = (Some(from), Some(to));
            }
            Op::Delete { object: Object::Element(element), .. } => change.gone = Some(element),
            _ => {}
        }
    }
    let mut all: BTreeMap<&NetnsName, Stale> = BTreeMap::new();
    let mut led: BTreeSet<(SocketAddr, SocketAddr)> = BTreeSet::new();
    for (key, change) in changes {
        let stale = all.entry(&key.set.table.netns).or_default();
        if let Some(asked) = asked(key) {
            // A service that goes on says by a mark how its clients are spread; its slots say to whom.
            let goes_on = change.gone.zip(change.made).is_some_and(|(gone, _)| is_marked(gone));
            stale.asked.extend((!goes_on).then_some(asked));
        } else if let Some(at) = slot(key) {
            stale.ends.extend(change.gone.and_then(end).map(|end| (at, end)));
            led.extend(change.made.and_then(end).map(|end| (at, end)));
        }
    }
    for stale in all.values_mut() {
        // The last one moves into the slot of one that went.
        stale.ends.retain(|pair| !led.contains(pair));
        let asked = std::mem::take(&mut stale.asked);
        stale.ends.retain(|(at, _)| !asked.iter().any(|asked| asked.has(*at)));
        stale.asked = asked;
    }
    all
}

/// What became of an element.
#[derive(Default)]
struct Change<'a> {
    gone: Option<&'a Element>,
    made: Option<&'a Element>,
}

/// What an element of a set or map by address, protocol and port is about.
fn asked(key: &ElementKey) -> Option<Asked> {
    let mut spans = key.key.iter();
    let (Some(address), _, Some(port), None) = (spans.next(), spans.next(), spans.next(), spans.next()) else {
        return None;
    };
    let Span { first: Value::Port(first), last: Value::Port(last) } = port else { return None };
    Some(Asked { addresses: address.first..=address.last, ports: first..=last })
}

/// What an element of a map by address, protocol, port and mark is about: one way that clients are led.
fn slot(key: &ElementKey) -> Option<SocketAddr> {
    let mut spans = key.key.iter();
    let (address, _, port) = (spans.next()?, spans.next()?, spans.next()?);
    matches!(spans.next()?.first, Value::Mark(_)).then(|| socket(&address.first, &port.first)).flatten()
}

fn end(element: &Element) -> Option<SocketAddr> {
    match &element.data {
        ElementData::Values(values) => {
            let mut values = values.iter();
            socket(&values.next()?, &values.next()?)
        }
        _ => None,
    }
}

fn is_marked(element: &Element) -> bool {
    matches!(&element.data, ElementData::Values(values) if matches!(values.iter().next(), Some(Value::Mark(_))))
}

fn socket(address: &Value, port: &Value) -> Option<SocketAddr> {
    match port {
        Value::Port(port) => Some(SocketAddr::new(address.address()?, *port)),
        _ => None,
    }
}

impl Stale {
    fn forget(&self, conntrack: &mut Conntrack) -> Result<(), netstate::Fault> {
        let single: Option<Vec<SocketAddr>> = self.asked.iter().map(Asked::single).collect();
        let few = single.filter(|single| single.len() + self.ends.len() <= ONE_BY_ONE_MAX);
        let Some(asked) = few else {
            return conntrack.forget_udp(|asked, end| {
                self.asked.iter().any(|stale| stale.has(asked)) || self.ends.contains(&(asked, end))
            });
        };
        for at in asked {
            let (end, protocol, port) = (End::OriginalDestination, Some(17), Some(at.port()));
            conntrack.forget(&Filter { end, address: at.ip(), protocol, port })?;
        }
        self.ends.iter().try_for_each(|(asked, end)| conntrack.forget_led(17, *asked, *end))
    }
}

impl Asked {
    fn has(&self, asked: SocketAddr) -> bool {
        self.addresses.contains(&asked.ip().into()) && self.ports.contains(&asked.port())
    }

    /// Where it is one address and port.
    fn single(&self) -> Option<SocketAddr> {
        let one = self.addresses.start() == self.addresses.end() && self.ports.start() == self.ports.end();
        socket(self.addresses.start(), &Value::Port(*self.ports.start())).filter(|_| one)
    }
}
