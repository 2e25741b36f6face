//! A virtual packet on its way: through links, routes and rules, hop by hop, to where it is delivered or dropped, and its answer back.
//!
//! It walks the wished state, plus what the caller knows of things that are not linkspan's. Rules of others are not seen; nor are TTL,
//! fragments, or `br_netfilter`.

mod hook;
mod routing;
mod text;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    addr::AddrKey,
    link::LinkKey,
    netns::NetnsName,
    nft::ChainKey,
    route::{Route, RouteKey},
    state::{Key, NetState},
    sysctl::SysctlKey,
};

/// What is on the host and not linkspan's.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Addresses on links of others.
    pub addrs: BTreeSet<AddrKey>,
    /// Routes of others. Those to the networks of addresses are derived.
    pub routes: BTreeMap<RouteKey, Route>,
    /// Who listens: namespace, transport protocol, port. When it is not known, every port is taken to answer.
    pub listeners: Option<BTreeSet<(NetnsName, u8, u16)>>,
    /// What chance has for the packet: where one of several is chosen at random, it is the one of this number, modulo how many there are.
    pub chance: u32,
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it starts.
    pub from: Origin,
    /// Source address; none lets routing choose it, as a socket that is not bound does.
    pub source: Option<IpAddr>,
    /// Source port.
    pub source_port: u16,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port.
    pub port: u16,
    /// Transport protocol number: 6 TCP, 17 UDP, 132 SCTP; others have no ports.
    pub proto: u8,
}

/// Where a packet starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A socket in a namespace.
    Socket(NetnsName),
    /// It comes in by a link, from outside.
    Wire(LinkKey),
}

/// Source and destination as they are at some place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Source port, 0 without ports.
    pub source_port: u16,
    /// Destination address.
    pub destination: IpAddr,
    /// Destination port, 0 without ports.
    pub port: u16,
}

impl Tuple {
    /// That of an answer.
    pub fn reversed(self) -> Self {
        Self { source: self.destination, source_port: self.port, destination: self.source, port: self.source_port }
    }
}

/// A packet's way, and its answer's way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The packet.
    pub packet: Packet,
    /// Its way.
    pub there: Leg,
    /// The answer's way; none when the packet did not arrive.
    pub back: Option<Leg>,
}

impl Trace {
    /// Whether a connection comes about: the packet arrives, and so does its answer.
    pub fn connects(&self) -> bool {
        self.there.arrives() && self.back.as_ref().is_some_and(Leg::arrives)
    }
}

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// What happened, first to last.
    pub hops: Vec<Hop>,
    /// How it ended.
    pub end: End,
}

impl Leg {
    /// Whether the packet was not dropped.
    pub fn arrives(&self) -> bool {
        !matches!(self.end, End::Dropped(_))
    }
}

/// Something that happened to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hop {
    /// A socket sends it.
    Sent {
        /// Where.
        netns: NetnsName,
        /// As what.
        tuple: Tuple,
    },
    /// It comes in by a link.
    In(LinkKey),
    /// It leaves by a link.
    Out(LinkKey),
    /// A bridge passes it from port to port.
    Bridged {
        /// The bridge.
        bridge: LinkKey,
        /// The port it leaves by.
        port: LinkKey,
    },
    /// A route is chosen.
    Routed {
        /// The link it leads to.
        link: LinkKey,
        /// The next hop; none when the destination is on the link.
        via: Option<IpAddr>,
        /// Ours, a connected network's address, or nothing of ours.
        by: Option<Key>,
    },
    /// A rule decides.
    Ruled {
        /// The rule's chain.
        chain: ChainKey,
        /// The rule's name.
        rule: String,
        /// What it did, in nft's words.
        verdict: String,
    },
    /// Its addresses change.
    Translated {
        /// Where.
        netns: NetnsName,
        /// As what it goes on.
        tuple: Tuple,
    },
}

/// How a way ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At a socket.
    Delivered {
        /// Where.
        netns: NetnsName,
        /// The link that has the address.
        link: LinkKey,
        /// What the socket sees.
        tuple: Tuple,
    },
    /// By a link of the host that is not linkspan's.
    Left {
        /// The link.
        link: LinkKey,
        /// What is on the wire.
        tuple: Tuple,
    },
    /// Nowhere.
    Dropped(Cause),
}

/// Why a packet is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A rule says so.
    Rule {
        /// The rule's chain.
        chain: ChainKey,
        /// The rule's name.
        rule: String,
        /// `drop`, or `reject` and with what.
        verdict: String,
    },
    /// A chain's policy says so.
    Policy(ChainKey),
    /// There is no route.
    NoRoute {
        /// Where.
        netns: NetnsName,
        /// Where to.
        destination: IpAddr,
    },
    /// Nobody on the link has the address.
    NoNeighbour {
        /// The link.
        link: LinkKey,
        /// The destination or the next hop.
        address: IpAddr,
    },
    /// A link is down.
    LinkDown(LinkKey),
    /// The namespace does not forward.
    NotForwarding(SysctlKey),
    /// Loopback addresses do not pass links unless `route_localnet` is set (IPv6: never).
    Loopback {
        /// The link it would have to pass.
        link: LinkKey,
        /// The address.
        address: IpAddr,
    },
    /// No address to send from.
    NoSource(NetnsName),
    /// Nobody listens.
    NoListener {
        /// Where.
        netns: NetnsName,
        /// Transport protocol number.
        proto: u8,
        /// The port.
        port: u16,
    },
    /// The answer comes from another address than was asked, so that the sender does not take it for one.
    StrangeAnswer(Tuple),
    /// It goes round.
    Loop(NetnsName),
}

impl Cause {
    /// The object that is to blame, if it is one of linkspan's.
    pub fn key(&self) -> Option<Key> {
        match self {
            Self::Rule { chain, .. } | Self::Policy(chain) => Some(Key::Chain(chain.clone())),
            Self::NoNeighbour { link, .. } | Self::LinkDown(link) | Self::Loopback { link, .. } => {
                Some(Key::Link(link.clone()))
            }
            Self::NotForwarding(key) => Some(Key::Sysctl(key.clone())),
            Self::NoRoute { netns, .. }
            | Self::NoSource(netns)
            | Self::NoListener { netns, .. }
            | Self::Loop(netns) => Some(Key::Netns(netns.clone())),
            Self::StrangeAnswer(_) => None,
        }
    }
}

/// Sends the packet and, if it arrives, its answer.
pub fn trace(state: &NetState, around: &Surroundings, packet: &Packet) -> Trace {
    walk::trace(state, around, packet)
}

/// Where packets with that source start: a socket in the namespace that has the address, else outside, behind the host's route to it.
pub fn origin(state: &NetState, around: &Surroundings, source: IpAddr) -> Option<Origin> {
    let ours = state.objects.keys().filter_map(|key| match key {
        Key::Addr(addr) => Some(addr),
        _ => None,
    });
    if let Some(addr) = ours.chain(&around.addrs).find(|addr| addr.address.addr() == source) {
        return Some(Origin::Socket(addr.link.netns.clone()));
    }
    let route = routing::lookup(state, around, &NetnsName::Host, source)?;
    Some(Origin::Wire(route.link))
}
