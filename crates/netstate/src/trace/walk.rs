//! The way itself: from socket or wire, through hooks, routes, pairs and bridges.

use std::net::IpAddr;

use super::{
    Cause, End, Hop, Leg, Origin, Packet, Surroundings, Trace, Tuple,
    hook::{self, Datagram, Direction, Place, Tracked},
    routing::{self, Way},
};
use crate::{
    link::{IfName, LinkKey, LinkKind},
    netns::NetnsName,
    nft::{Family, Hook},
    state::NetState,
    sysctl::SysctlKey,
};

/// A packet that passes more namespaces than this goes round.
const NAMESPACES_MAX: usize = 32;

pub(super) fn trace(state: &NetState, around: &Surroundings, packet: &Packet) -> Trace {
    let mut walk = Walk { state, around, tracked: Tracked::default(), hops: Vec::new(), namespaces: 0 };
    let sent = walk.first(packet);
    let outcome = sent.clone().and_then(|datagram| walk.start(&packet.from, datagram));
    let there = walk.leg(outcome);
    let back = sent.ok().and_then(|datagram| walk.answer(datagram, &there));
    Trace { packet: packet.clone(), there, back }
}

struct Walk<'a> {
    state: &'a NetState,
    around: &'a Surroundings,
    tracked: Tracked,
    hops: Vec<Hop>,
    namespaces: usize,
}

type Outcome = Result<End, Cause>;

impl Walk<'_> {
    /// The answer starts where the packet arrived, and must come in where it started, as the reverse of what was sent.
    fn answer(&mut self, sent: Datagram, there: &Leg) -> Option<Leg> {
        let answered =
            |tuple: &Tuple| Datagram { tuple: tuple.reversed(), direction: Direction::Reply, ..sent.clone() };
        let outcome = match &there.end {
            End::Delivered { netns, tuple, .. } => self.send(netns, answered(tuple)),
            End::Left { link, tuple } => self.receive(link, answered(tuple)),
            End::Dropped(_) => return None,
        };
        let expected = sent.tuple.reversed();
        let checked = outcome.and_then(|end| match &end {
            End::Delivered { tuple, .. } | End::Left { tuple, .. } if *tuple != expected => {
                Err(Cause::StrangeAnswer(*tuple))
            }
            _ => Ok(end),
        });
        Some(self.leg(checked))
    }

    fn leg(&mut self, outcome: Outcome) -> Leg {
        self.namespaces = 0;
        let end = outcome.unwrap_or_else(End::Dropped);
        Leg { hops: std::mem::take(&mut self.hops), end }
    }

    /// The packet as it is sent, or as it comes in.
    fn first(&self, packet: &Packet) -> Result<Datagram, Cause> {
        let source = match (&packet.from, packet.source) {
            (_, Some(source)) => source,
            (Origin::Socket(netns), None) => self.choose_source(netns, packet.destination)?,
            (Origin::Wire(link), None) => return Err(Cause::NoSource(link.netns.clone())),
        };
        let ports = if hook::has_ports(packet.proto) { (packet.source_port, packet.port) } else { (0, 0) };
        let tuple = Tuple { source, source_port: ports.0, destination: packet.destination, port: ports.1 };
        Ok(Datagram { tuple, proto: packet.proto, mark: 0, direction: Direction::Original })
    }

    fn start(&mut self, from: &Origin, datagram: Datagram) -> Outcome {
        match from {
            Origin::Socket(netns) => self.send(netns, datagram),
            Origin::Wire(link) => {
                self.hops.push(Hop::In(link.clone()));
                self.receive(link, datagram)
            }
        }
    }

    fn choose_source(&self, netns: &NetnsName, destination: IpAddr) -> Result<IpAddr, Cause> {
        if let Some(owner) = routing::local(self.state, self.around, netns, destination) {
            return Ok(routing::own_source(self.state, self.around, &owner, destination));
        }
        let way = self.route(netns, destination)?;
        let source = routing::source(self.state, self.around, &way.link, way.via.unwrap_or(destination));
        source.ok_or_else(|| Cause::NoSource(netns.clone()))
    }

    fn route(&self, netns: &NetnsName, destination: IpAddr) -> Result<Way, Cause> {
        let no_route = || Cause::NoRoute { netns: netns.clone(), destination };
        routing::lookup(self.state, self.around, netns, destination).ok_or_else(no_route)
    }

    /// The way of a destination, local ones by loopback.
    fn way(&self, netns: &NetnsName, destination: IpAddr) -> Result<Way, Cause> {
        match (routing::local(self.state, self.around, netns, destination), routing::loopback(netns)) {
            (Some(_), Some(link)) => Ok(Way { link, via: None, by: None }),
            _ => self.route(netns, destination),
        }
    }

    /// From a socket: routed, through `output`, routed again if that changed the destination.
    fn send(&mut self, netns: &NetnsName, mut datagram: Datagram) -> Outcome {
        self.hops.push(Hop::Sent { netns: netns.clone(), tuple: datagram.tuple });
        let mut way = self.way(netns, datagram.tuple.destination)?;
        let before = datagram.tuple.destination;
        self.inet(netns, Hook::Output, None, Some(&way.link.name), &mut datagram)?;
        if datagram.tuple.destination != before {
            way = self.way(netns, datagram.tuple.destination)?;
        }
        self.check_loopback(&way.link, datagram.tuple.source)?;
        self.hops.push(way.hop());
        self.leave(way, None, datagram)
    }

    /// In by a link, already past any bridge that the link is a port of.
    fn receive(&mut self, link: &LinkKey, mut datagram: Datagram) -> Outcome {
        self.namespaces += 1;
        if self.namespaces > NAMESPACES_MAX {
            return Err(Cause::Loop(link.netns.clone()));
        }
        let netns = &link.netns;
        if !routing::is_up(self.state, link) {
            return Err(Cause::LinkDown(link.clone()));
        }
        self.inet(netns, Hook::Prerouting, Some(&link.name), None, &mut datagram)?;
        let Tuple { source, destination, .. } = datagram.tuple;
        self.check_loopback(link, source)?;
        self.check_loopback(link, destination)?;
        if let Some(owner) = routing::local(self.state, self.around, netns, destination) {
            return self.deliver(link, owner, datagram);
        }
        self.check_forwarding(netns, destination)?;
        let way = self.route(netns, destination)?;
        self.hops.push(way.hop());
        self.inet(netns, Hook::Forward, Some(&link.name), Some(&way.link.name), &mut datagram)?;
        self.leave(way, Some(link), datagram)
    }

    fn deliver(&mut self, link: &LinkKey, owner: LinkKey, mut datagram: Datagram) -> Outcome {
        let netns = &link.netns;
        self.inet(netns, Hook::Input, Some(&link.name), None, &mut datagram)?;
        let port = datagram.tuple.port;
        let listens = match &self.around.listeners {
            Some(listeners) if datagram.direction == Direction::Original && hook::has_ports(datagram.proto) => {
                listeners.contains(&(netns.clone(), datagram.proto, port))
            }
            _ => true,
        };
        if !listens {
            return Err(Cause::NoListener { netns: netns.clone(), proto: datagram.proto, port });
        }
        Ok(End::Delivered { netns: netns.clone(), link: owner, tuple: datagram.tuple })
    }

    /// Through `postrouting` and out.
    fn leave(&mut self, way: Way, iif: Option<&LinkKey>, mut datagram: Datagram) -> Outcome {
        let Way { link, via, .. } = way;
        let netns = &link.netns;
        self.inet(netns, Hook::Postrouting, iif.map(|link| &link.name), Some(&link.name), &mut datagram)?;
        let hop = via.unwrap_or(datagram.tuple.destination);
        if Some(&link) == routing::loopback(netns).as_ref() {
            return self.receive(&link, datagram);
        }
        let Some(seen) = self.state.link(&link) else {
            return Ok(End::Left { tuple: datagram.tuple, link });
        };
        self.hops.push(Hop::Out(link.clone()));
        match &seen.kind {
            LinkKind::Bridge => {
                self.frame(&link, Hook::Output, None, None, &mut datagram)?;
                self.by_port(&link, None, hop, datagram)
            }
            LinkKind::Veth { peer: other, .. } | LinkKind::VethPeer { of: other } => self.arrive(other, hop, datagram),
        }
    }

    /// Out of a bridge by the port behind which somebody has the address.
    fn by_port(&mut self, bridge: &LinkKey, from: Option<&LinkKey>, hop: IpAddr, mut datagram: Datagram) -> Outcome {
        let behind = |port: &&LinkKey| {
            let other = self.state.link(port).and_then(|link| match &link.kind {
                LinkKind::Veth { peer: other, .. } | LinkKind::VethPeer { of: other } => Some(other),
                LinkKind::Bridge => None,
            });
            other.is_some_and(|other| routing::local(self.state, self.around, &other.netns, hop).is_some())
        };
        let Some(port) =
            self.state.ports(bridge).map(|(port, _)| port).filter(|port| Some(*port) != from).find(behind).cloned()
        else {
            return Err(Cause::NoNeighbour { link: bridge.clone(), address: hop });
        };
        if from.is_some() {
            self.frame(bridge, Hook::Forward, from, Some(&port), &mut datagram)?;
        }
        self.frame(bridge, Hook::Postrouting, from, Some(&port), &mut datagram)?;
        self.hops.push(Hop::Bridged { bridge: bridge.clone(), port: port.clone() });
        match self.state.link(&port).map(|link| &link.kind) {
            Some(LinkKind::Veth { peer: other, .. } | LinkKind::VethPeer { of: other }) => {
                self.arrive(other, hop, datagram)
            }
            _ => Err(Cause::NoNeighbour { link: port, address: hop }),
        }
    }

    /// In at the far end of a pair, as a frame for whoever has the next hop's address.
    fn arrive(&mut self, link: &LinkKey, hop: IpAddr, mut datagram: Datagram) -> Outcome {
        if !routing::is_up(self.state, link) {
            return Err(Cause::LinkDown(link.clone()));
        }
        self.hops.push(Hop::In(link.clone()));
        let is_here = routing::local(self.state, self.around, &link.netns, hop).is_some();
        let port = self.state.link(link).and_then(|link| link.port.as_ref());
        let Some(bridge) = port.map(|port| LinkKey { netns: link.netns.clone(), name: port.bridge.clone() }) else {
            return if is_here {
                self.receive(link, datagram)
            } else {
                Err(Cause::NoNeighbour { link: link.clone(), address: hop })
            };
        };
        if !routing::is_up(self.state, &bridge) {
            return Err(Cause::LinkDown(bridge));
        }
        self.frame(&bridge, Hook::Prerouting, Some(link), None, &mut datagram)?;
        if !is_here {
            return self.by_port(&bridge, Some(link), hop, datagram);
        }
        self.frame(&bridge, Hook::Input, Some(link), None, &mut datagram)?;
        self.hops.push(Hop::In(bridge.clone()));
        self.receive(&bridge, datagram)
    }

    fn inet(
        &mut self,
        netns: &NetnsName,
        hook: Hook,
        iif: Option<&IfName>,
        oif: Option<&IfName>,
        datagram: &mut Datagram,
    ) -> Result<(), Cause> {
        let place = Place { netns, family: Family::Inet, hook, iif, oif, bridge: None };
        hook::pass((self.state, self.around), &mut self.tracked, &place, datagram, &mut self.hops)
    }

    fn frame(
        &mut self,
        bridge: &LinkKey,
        hook: Hook,
        iif: Option<&LinkKey>,
        oif: Option<&LinkKey>,
        datagram: &mut Datagram,
    ) -> Result<(), Cause> {
        let [iif, oif] = [iif, oif].map(|link| link.map(|link| &link.name));
        // `meta ibrname` is the bridge that the incoming port belongs to.
        let name = iif.is_some().then_some(&bridge.name);
        let place = Place { netns: &bridge.netns, family: Family::Bridge, hook, iif, oif, bridge: name };
        hook::pass((self.state, self.around), &mut self.tracked, &place, datagram, &mut self.hops)
    }

    fn check_forwarding(&self, netns: &NetnsName, destination: IpAddr) -> Result<(), Cause> {
        let path = if destination.is_ipv4() { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
        // What nobody set is off in a new namespace, and the host's own business.
        let on = self.state.sysctl(netns, path).map_or(*netns == NetnsName::Host, |value| value != "0");
        if on { Ok(()) } else { Err(Cause::NotForwarding(SysctlKey { netns: netns.clone(), path: path.to_owned() })) }
    }

    fn check_loopback(&self, link: &LinkKey, address: IpAddr) -> Result<(), Cause> {
        if !address.is_loopback() || Some(link) == routing::loopback(&link.netns).as_ref() {
            return Ok(());
        }
        let is_set = |scope: &str| {
            let path = format!("net/ipv4/conf/{scope}/route_localnet");
            self.state.sysctl(&link.netns, &path).is_some_and(|value| value != "0")
        };
        if address.is_ipv4() && (is_set("all") || is_set(link.name.as_str())) {
            return Ok(());
        }
        Err(Cause::Loopback { link: link.clone(), address })
    }
}

impl Way {
    fn hop(&self) -> Hop {
        Hop::Routed { link: self.link.clone(), via: self.via, by: self.by.clone() }
    }
}
