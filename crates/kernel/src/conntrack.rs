//! Connections that the kernel tracks: forgetting those that lead where nothing is any more, and finding where one was meant to go.
//!
//! A connection has two tuples of source and destination: that of its first packet (original) and that of the answers (reply). After
//! a destination translation the first has the address that was asked for, the second the one that answers.

use std::net::{IpAddr, SocketAddr};

use libc::NFNL_SUBSYS_CTNETLINK;
use netstate::{Fault, netns::NetnsName};

use crate::{
    fault::Refusal,
    linux::Linux,
    netlink::{Attributes, Protocol, Request, Socket, Writer, attributes},
    nft::{HEADER_LEN, header},
};

const UDP: u8 = 17;
const GET: u16 = 1; // IPCTNL_MSG_CT_*
const DELETE: u16 = 2;
const TUPLE_ORIG: u16 = 1; // CTA_*
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const FILTER: u16 = 25;
const FILTER_ORIG_FLAGS: u16 = 1; // CTA_FILTER_*
const FILTER_REPLY_FLAGS: u16 = 2;
const TUPLE_IP: u16 = 1; // CTA_TUPLE_*
const TUPLE_PROTO: u16 = 2;
const V4_SRC: u16 = 1; // CTA_IP_*
const V4_DST: u16 = 2;
const V6_SRC: u16 = 3;
const V6_DST: u16 = 4;
const PROTO_NUM: u16 = 1; // CTA_PROTO_*
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
const FLAG_IP_SRC: u32 = 1 << 0; // CTA_FILTER_F_*
const FLAG_IP_DST: u32 = 1 << 1;
const FLAG_PROTO_NUM: u32 = 1 << 3;
const FLAG_PROTO_SRC_PORT: u32 = 1 << 4;
const FLAG_PROTO_DST_PORT: u32 = 1 << 5;

/// How many are deleted in one go: as many refusals fit into the socket's buffer.
const AT_ONCE: usize = 4096;

/// Which connections: all that have every part that is given. At least the address must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// By which end.
    pub end: End,
    /// That end's address.
    pub address: IpAddr,
    /// The transport protocol (6 TCP, 17 UDP, 132 SCTP).
    pub protocol: Option<u8>,
    /// That end's port; needs the protocol.
    pub port: Option<u16>,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What the first packet was sent to: a published address, a service.
    OriginalDestination,
    /// What answers: a container.
    ReplySource,
}

/// The connection table of one namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Linux {
    /// The connections of a namespace.
    pub fn conntrack(&self, netns: &NetnsName) -> Result<Conntrack, Fault> {
        let open = || Socket::open(Protocol::Netfilter);
        let socket = self.inside(netns, open).and_then(|socket| Ok(socket?));
        socket.map(|socket| Conntrack { socket }).map_err(|refusal| refusal.fault("open the connection table"))
    }
}

impl Conntrack {
    /// Forgets connections: their next packet is looked at as the first of a new one. None being there is fine.
    pub fn forget(&mut self, filter: &Filter) -> Result<(), Fault> {
        self.forget_all(&[*filter])
            .map_err(|refusal| refusal.fault(format!("forget connections of {}", filter.address)))
    }

    /// Forgets the connections whose first packet was sent to one address and port, and that another answers.
    pub fn forget_led(&mut self, protocol: u8, asked: SocketAddr, end: SocketAddr) -> Result<(), Fault> {
        let [one, other] = [(End::OriginalDestination, asked), (End::ReplySource, end)].map(|(end, at)| Filter {
            end,
            address: at.ip(),
            protocol: Some(protocol),
            port: Some(at.port()),
        });
        self.forget_all(&[one, other])
            .map_err(|refusal| refusal.fault(format!("forget connections to {asked} that {end} answers")))
    }

    /// Forgets the UDP flows of both families that the test picks by where their first packet was sent to, and who answers.
    pub fn forget_udp(&mut self, is_stale: impl Fn(SocketAddr, SocketAddr) -> bool) -> Result<(), Fault> {
        let picked = |c: &Connection| {
            c.protocol == Some(UDP)
                && c.original_destination.zip(c.reply_source).is_some_and(|(to, by)| is_stale(to, by))
        };
        for family in [libc::AF_INET, libc::AF_INET6] {
            let all = all_of(family as u8, UDP);
            self.forget_listed(&all, picked).map_err(|refusal| refusal.fault("forget UDP flows"))?;
        }
        Ok(())
    }

    /// Where the connection of `client` with `local` was meant to go before it was translated; none when there is no such connection.
    pub fn original_destination(
        &mut self,
        protocol: u8,
        client: SocketAddr,
        local: SocketAddr,
    ) -> Result<Option<SocketAddr>, Fault> {
        let mut body = header(family(local.ip()), 0);
        body.nest(TUPLE_REPLY, |w| {
            w.nest(TUPLE_IP, |w| {
                put_ip(w, local.ip(), V4_SRC, V6_SRC);
                put_ip(w, client.ip(), V4_DST, V6_DST);
            });
            w.nest(TUPLE_PROTO, |w| {
                w.bytes(PROTO_NUM, &[protocol]);
                w.be16(PROTO_SRC_PORT, local.port());
                w.be16(PROTO_DST_PORT, client.port());
            });
        });
        let mut found = None;
        let request = Request::new(message_type(GET), libc::NLM_F_ACK, body.0);
        let each =
            |message: crate::netlink::Message<'_>| found = read(message.body).and_then(|c| c.original_destination);
        let refused = self.socket.exchange(&[&request], each).map(|mut refusals| refusals.pop());
        match refused {
            Ok(None) => Ok(found),
            Ok(Some((_, refusal))) if refusal.errno == libc::ENOENT => Ok(None),
            Ok(Some((_, refusal))) | Err(refusal) => {
                Err(refusal.fault(format!("look up the connection of {client} with {local}")))
            }
        }
    }

    /// Forgets what has the parts of every filter. All are of one family, and each is about another end.
    fn forget_all(&mut self, filters: &[Filter]) -> Result<(), Refusal> {
        // They cannot be named by their IPv6 addresses.
        if filters.iter().any(|filter| filter.address.is_ipv6()) {
            return self.forget_one_by_one(filters);
        }
        match self.socket.ask(Request::new(message_type(DELETE), 0, filtered(filters))) {
            // Before Linux 6.3 or so a deletion takes a tuple for one connection's, and finds none.
            Err(refusal) if refusal.errno == libc::ENOENT => self.forget_one_by_one(filters),
            other => other,
        }
    }

    fn forget_one_by_one(&mut self, filters: &[Filter]) -> Result<(), Refusal> {
        self.forget_listed(&filtered(filters), |connection| filters.iter().all(|filter| connection.has(filter)))
    }

    fn forget_listed(&mut self, listing: &[u8], picked: impl Fn(&Connection) -> bool) -> Result<(), Refusal> {
        let found = std::cell::RefCell::new(Vec::new());
        self.socket.dump(
            message_type(GET),
            listing,
            || found.borrow_mut().clear(),
            |message| found.borrow_mut().extend(read(message.body).filter(&picked).map(|c| c.body)),
        )?;
        let delete = |body| Request::new(message_type(DELETE), libc::NLM_F_ACK, body);
        let deletes: Vec<Request> = found.into_inner().into_iter().map(delete).collect();
        for some in deletes.chunks(AT_ONCE) {
            let refusals = self.socket.exchange(&some.iter().collect::<Vec<_>>(), |_| ())?;
            // One that is gone is as good as forgotten.
            if let Some((_, refusal)) = refusals.into_iter().find(|(_, refusal)| refusal.errno != libc::ENOENT) {
                return Err(refusal);
            }
        }
        Ok(())
    }
}

/// What lists the connections of a family and protocol; kernels that cannot filter list all.
fn all_of(family: u8, protocol: u8) -> Vec<u8> {
    let mut body = header(family, 0);
    body.nest(TUPLE_ORIG, |w| w.nest(TUPLE_PROTO, |w| w.bytes(PROTO_NUM, &[protocol])));
    body.nest(FILTER, |w| w.bytes(FILTER_ORIG_FLAGS, &FLAG_PROTO_NUM.to_ne_bytes()));
    body.0
}

const fn message_type(message: u16) -> u16 {
    ((NFNL_SUBSYS_CTNETLINK as u16) << 8) | message
}

fn family(address: IpAddr) -> u8 {
    (if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn put_ip(w: &mut Writer, address: IpAddr, v4: u16, v6: u16) {
    match address {
        IpAddr::V4(address) => w.bytes(v4, &address.octets()),
        IpAddr::V6(address) => w.bytes(v6, &address.octets()),
    }
}

/// What lists or deletes the connections that have the parts of every filter, whatever their IPv6 addresses: Linux takes those of others for
/// the ones asked for (`ctnetlink_filter_match_tuple`, up to 6.18 at least). All are of one family, and each is about another end.
fn filtered(filters: &[Filter]) -> Vec<u8> {
    let address = filters.first().map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |filter| filter.address);
    let mut body = header(family(address), 0);
    let mut flags = Writer::default();
    for filter in filters {
        let (kind, parts) = tuple(&mut body, filter);
        // Bits in the host's order (`NLA_U32` read by nla_get_u32).
        flags.bytes(kind, &parts.to_ne_bytes());
    }
    body.nest(FILTER, |w| w.0.extend(flags.0));
    body.0
}

/// Writes the tuple of a filter; the attribute that says which of its parts count is returned.
fn tuple(body: &mut Writer, filter: &Filter) -> (u16, u32) {
    let is_destination = filter.end == End::OriginalDestination;
    let (tuple, flags) =
        if is_destination { (TUPLE_ORIG, FILTER_ORIG_FLAGS) } else { (TUPLE_REPLY, FILTER_REPLY_FLAGS) };
    let (v4, v6, port) =
        if is_destination { (V4_DST, V6_DST, PROTO_DST_PORT) } else { (V4_SRC, V6_SRC, PROTO_SRC_PORT) };
    let mut parts = 0;
    body.nest(tuple, |w| {
        if filter.address.is_ipv4() {
            parts |= if is_destination { FLAG_IP_DST } else { FLAG_IP_SRC };
            w.nest(TUPLE_IP, |w| put_ip(w, filter.address, v4, v6));
        }
        if let Some(protocol) = filter.protocol {
            parts |= FLAG_PROTO_NUM;
            w.nest(TUPLE_PROTO, |w| {
                w.bytes(PROTO_NUM, &[protocol]);
                if let Some(number) = filter.port {
                    parts |= if is_destination { FLAG_PROTO_DST_PORT } else { FLAG_PROTO_SRC_PORT };
                    w.be16(port, number);
                }
            });
        }
    });
    (flags, parts)
}

/// A connection as listed.
pub(crate) struct Connection {
    original_destination: Option<SocketAddr>,
    reply_source: Option<SocketAddr>,
    protocol: Option<u8>,
    /// A body that names it and no other.
    body: Vec<u8>,
}

impl Connection {
    fn has(&self, filter: &Filter) -> bool {
        let end = match filter.end {
            End::OriginalDestination => self.original_destination,
            End::ReplySource => self.reply_source,
        };
        end.is_some_and(|end| end.ip() == filter.address && filter.port.is_none_or(|port| port == end.port()))
            && (filter.protocol.is_none() || filter.protocol == self.protocol)
    }
}

pub(crate) fn read(body: &[u8]) -> Option<Connection> {
    let (start, rest) = body.split_at_checked(HEADER_LEN)?;
    let connection = attributes(rest);
    let original = connection.within(TUPLE_ORIG);
    let mut name = Writer::after(start);
    name.bytes(TUPLE_ORIG | libc::NLA_F_NESTED as u16, connection.get(TUPLE_ORIG)?);
    if let Some(id) = connection.get(ID) {
        name.bytes(ID, id);
    }
    Some(Connection {
        original_destination: end(original, V4_DST, V6_DST, PROTO_DST_PORT),
        reply_source: end(connection.within(TUPLE_REPLY), V4_SRC, V6_SRC, PROTO_SRC_PORT),
        protocol: original.within(TUPLE_PROTO).get(PROTO_NUM).and_then(|n| n.first().copied()),
        body: name.0,
    })
}

/// One end of a tuple; its port is 0 where the protocol has none.
fn end(tuple: Attributes<'_>, v4: u16, v6: u16, port: u16) -> Option<SocketAddr> {
    let ip = tuple.within(TUPLE_IP);
    let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(ip.get(v4)?).ok()?));
    let v6 = || Some(IpAddr::from(<[u8; 16]>::try_from(ip.get(v6)?).ok()?));
    Some(SocketAddr::new(v4().or_else(v6)?, tuple.within(TUPLE_PROTO).be16(port).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::{netlink::route, socket::in_private_namespaces};

    /// What a kernel does that cannot filter, which the one at hand may not be.
    #[test]
    fn forgets_one_by_one() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return;
        }
        in_private_namespaces(|| {
            let mut linux = Linux::open(std::path::Path::new("/nonexistent")).expect("to open");
            let mut lo = netlink_packet_route::link::LinkMessage::default();
            lo.header.index = 1;
            lo.header.flags = netlink_packet_route::link::LinkFlags::Up;
            lo.header.change_mask = lo.header.flags;
            let up = route::request(libc::RTM_NEWLINK, 0, &lo);
            linux.sockets(&NetnsName::Host).expect("sockets").route.ask(up).expect("the loopback link");
            // Nothing is tracked until a rule asks for it.
            let rules = "add table inet t; add chain inet t c { type filter hook output priority 0; }; add rule inet t c ct state new accept";
            assert!(std::process::Command::new("nft").arg(rules).status().expect("nft").success());
            for loopback in ["127.0.0.1:0", "[::1]:0"] {
            let server = UdpSocket::bind(loopback).expect("to bind");
            let client = UdpSocket::bind(loopback).expect("to bind");
            let (client_at, server_at) = (client.local_addr().expect("bound"), server.local_addr().expect("bound"));
            client.send_to(b"x", server_at).expect("to send");
            let mut conntrack = linux.conntrack(&NetnsName::Host).expect("to open");
            let is_there = |conntrack: &mut Conntrack| {
                conntrack.original_destination(17, client_at, server_at).expect("to look") == Some(server_at)
            };
            let filter = Filter { end: End::ReplySource, address: server_at.ip(), protocol: Some(17), port: Some(server_at.port()) };
            assert!(is_there(&mut conntrack));
            conntrack.forget_one_by_one(&[Filter { port: Some(1), ..filter }]).expect("to forget");
            assert!(is_there(&mut conntrack));
            conntrack.forget_one_by_one(&[filter]).expect("to forget");
            assert!(!is_there(&mut conntrack));
            // By both ends at once.
            client.send_to(b"x", server_at).expect("to send");
            let elsewhere = SocketAddr::new(server_at.ip(), 1);
            conntrack.forget_led(UDP, elsewhere, server_at).expect("to forget");
            conntrack.forget_led(UDP, server_at, elsewhere).expect("to forget");
            assert!(is_there(&mut conntrack));
            conntrack.forget_led(UDP, server_at, server_at).expect("to forget");
            assert!(!is_there(&mut conntrack));
            }
        })
        .expect("namespaces");
    }
}
