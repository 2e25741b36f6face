//! One hook of netfilter: its chains on the packet, and connection tracking with its translations.

use std::{collections::BTreeMap, net::IpAddr};

use super::{Cause, Hop, Surroundings, Tuple, routing};
use crate::{
    link::{IfName, LinkKey},
    netns::NetnsName,
    nft::{
        ChainType, CtState, Family, Hook,
        eval::{self, Decision, Sight, Verdict},
        text,
    },
    state::NetState,
};

const TCP: u8 = 6;
/// Where translations happen among the chains of a hook (`NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`).
const DNAT_PRIORITY: i32 = -100;
const SNAT_PRIORITY: i32 = 100;

/// A packet somewhere on its way.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    pub tuple: Tuple,
    pub proto: u8,
    pub mark: u32,
    pub direction: Direction,
}

/// Which way along its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Original,
    Reply,
}

/// A connection as one namespace knows it.
#[derive(Clone, Debug)]
struct Connection {
    /// As it came.
    original: Tuple,
    /// As it went on.
    translated: Tuple,
    destination_is_settled: bool,
    source_is_settled: bool,
}

/// What every namespace tracks of this one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracked(BTreeMap<NetnsName, Vec<Connection>>);

/// Where a packet is looked at.
pub(super) struct Place<'a> {
    pub netns: &'a NetnsName,
    pub family: Family,
    pub hook: Hook,
    pub iif: Option<&'a IfName>,
    pub oif: Option<&'a IfName>,
    pub bridge: Option<&'a IfName>,
}

/// Passes the packet through a hook: its addresses may change, or a rule drops it.
pub(super) fn pass(
    (state, around): (&NetState, &Surroundings),
    tracked: &mut Tracked,
    place: &Place,
    datagram: &mut Datagram,
    hops: &mut Vec<Hop>,
) -> Result<(), Cause> {
    let translates = place.family == Family::Inet && place.hook != Hook::Forward;
    let is_destination_hook = matches!(place.hook, Hook::Prerouting | Hook::Output);
    let priority = if is_destination_hook { DNAT_PRIORITY } else { SNAT_PRIORITY };
    let mut connection = if place.family == Family::Inet { tracked.find(place.netns, datagram) } else { None };
    let mut restored = !translates;
    for (key, _, base) in eval::base_chains(state, place.netns, place.family, place.hook) {
        if base.priority >= priority && !restored {
            restore(connection.as_deref(), is_destination_hook, place, datagram, hops);
            restored = true;
        }
        let nat = base.kind == ChainType::Nat;
        if nat
            && !connection
                .as_ref()
                .is_some_and(|connection| connection.is_open(is_destination_hook, datagram.direction))
        {
            continue;
        }
        let sight = sight(state, around, place, datagram, connection.as_deref());
        let Some(decision) = eval::decide(state, key, &sight) else { continue };
        datagram.mark = decision.mark;
        let tuple = translation(state, around, place, &decision, datagram.tuple)?;
        settle(decision, hops)?;
        if let (Some(tuple), Some(connection)) = (tuple, connection.as_deref_mut()) {
            connection.settle(is_destination_hook, tuple);
            if tuple != datagram.tuple {
                hops.push(Hop::Translated { netns: place.netns.clone(), tuple });
            }
            datagram.tuple = tuple;
        }
    }
    if !restored {
        restore(connection.as_deref(), is_destination_hook, place, datagram, hops);
    }
    if translates && let Some(connection) = connection {
        connection.close(is_destination_hook);
    }
    Ok(())
}

impl Tracked {
    /// The connection of a packet; a first packet opens it.
    fn find(&mut self, netns: &NetnsName, datagram: &Datagram) -> Option<&mut Connection> {
        let known = self.0.entry(netns.clone()).or_default();
        let is_its = |connection: &Connection| match datagram.direction {
            Direction::Original => datagram.tuple == connection.translated,
            Direction::Reply => {
                let back = connection.translated.reversed();
                let restored =
                    Tuple { destination: connection.original.source, port: connection.original.source_port, ..back };
                datagram.tuple == back || datagram.tuple == restored || datagram.tuple == connection.original.reversed()
            }
        };
        let at = match known.iter().position(is_its) {
            Some(at) => at,
            None if datagram.direction == Direction::Original => {
                let tuple = datagram.tuple;
                known.push(Connection {
                    original: tuple,
                    translated: tuple,
                    destination_is_settled: false,
                    source_is_settled: false,
                });
                known.len() - 1
            }
            None => return None,
        };
        known.get_mut(at)
    }
}

impl Connection {
    fn is_open(&self, destination: bool, direction: Direction) -> bool {
        let settled = if destination { self.destination_is_settled } else { self.source_is_settled };
        direction == Direction::Original && !settled
    }

    fn settle(&mut self, destination: bool, tuple: Tuple) {
        self.translated = tuple;
        self.close(destination);
    }

    fn close(&mut self, destination: bool) {
        if destination {
            self.destination_is_settled = true;
        } else {
            self.source_is_settled = true;
        }
    }
}

/// An answer gets back the addresses that its connection came with: its destination before routing, its source after.
fn restore(
    connection: Option<&Connection>,
    destination: bool,
    place: &Place,
    datagram: &mut Datagram,
    hops: &mut Vec<Hop>,
) {
    let Some(connection) = connection.filter(|_| datagram.direction == Direction::Reply) else { return };
    let before = datagram.tuple;
    let whole = connection.original.reversed();
    datagram.tuple = if destination {
        Tuple { destination: whole.destination, port: whole.port, ..before }
    } else {
        Tuple { source: whole.source, source_port: whole.source_port, ..before }
    };
    if datagram.tuple != before {
        hops.push(Hop::Translated { netns: place.netns.clone(), tuple: datagram.tuple });
    }
}

fn sight(
    state: &NetState,
    around: &Surroundings,
    place: &Place,
    datagram: &Datagram,
    connection: Option<&Connection>,
) -> Sight {
    let name = |link: Option<&IfName>| link.map(ToString::to_string);
    let tuple = datagram.tuple;
    let ct = match (datagram.direction, connection) {
        (Direction::Original, _) => CtState::New,
        (Direction::Reply, Some(_)) => CtState::Established,
        // An answer to something never seen: TCP's handshake shows it.
        (Direction::Reply, None) if datagram.proto == TCP => CtState::Invalid,
        (Direction::Reply, None) => CtState::New,
    };
    let destination = |tuple: Tuple| (tuple.destination, tuple.port);
    Sight {
        iif: name(place.iif),
        oif: name(place.oif),
        bridge: name(place.bridge),
        source: tuple.source,
        destination: tuple.destination,
        proto: datagram.proto,
        ports: has_ports(datagram.proto).then_some((tuple.source_port, tuple.port)),
        mark: datagram.mark,
        state: ct,
        dnat: connection
            .is_some_and(|connection| destination(connection.original) != destination(connection.translated)),
        local: routing::local(state, around, place.netns, tuple.destination).is_some(),
        chance: around.chance,
    }
}

/// TCP, UDP, DCCP, SCTP, UDP-Lite.
pub(super) fn has_ports(proto: u8) -> bool {
    matches!(proto, 6 | 17 | 33 | 132 | 136)
}

/// The addresses a translation gives; none when the decision is no translation.
fn translation(
    state: &NetState,
    around: &Surroundings,
    place: &Place,
    decision: &Decision,
    tuple: Tuple,
) -> Result<Option<Tuple>, Cause> {
    let to = |destination: IpAddr, port: Option<u16>| Tuple { destination, port: port.unwrap_or(tuple.port), ..tuple };
    let from =
        |source: IpAddr, port: Option<u16>| Tuple { source, source_port: port.unwrap_or(tuple.source_port), ..tuple };
    let own = |link: Option<&IfName>| {
        let link = LinkKey { netns: place.netns.clone(), name: link?.clone() };
        routing::source(state, around, &link, tuple.destination)
    };
    let no_source = || Cause::NoSource(place.netns.clone());
    Ok(match &decision.verdict {
        Verdict::Dnat(address, port) => Some(to(*address, *port)),
        Verdict::Snat(address, port) => Some(from(*address, *port)),
        Verdict::Masquerade => Some(from(own(place.oif).ok_or_else(no_source)?, None)),
        Verdict::Redirect(port) => {
            let local = match tuple.destination {
                IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
                IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
            };
            let address = if place.hook == Hook::Output { local } else { own(place.iif).ok_or_else(no_source)? };
            Some(to(address, Some(*port)))
        }
        Verdict::Accept | Verdict::Drop | Verdict::Reject(_) => None,
    })
}

/// Writes the decision down, or ends the way.
fn settle(decision: Decision, hops: &mut Vec<Hop>) -> Result<(), Cause> {
    let Decision { chain, rule, verdict, .. } = decision;
    let Some(rule) = rule else { return Err(Cause::Policy(chain)) };
    let words = text::verdict(&verdict);
    match verdict {
        Verdict::Drop | Verdict::Reject(_) => Err(Cause::Rule { chain, rule, verdict: words }),
        _ => {
            hops.push(Hop::Ruled { chain, rule, verdict: words });
            Ok(())
        }
    }
}
