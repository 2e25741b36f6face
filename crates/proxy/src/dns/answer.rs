//! One query to one verdict, without any IO: our own names are answered here, all others are for the servers outside.

use std::sync::Arc;

use arc_swap::ArcSwap;
use plan::dns::{Addresses, ClusterNames, DnsView, Forward, NetworkNames, Unqualified};

use super::cluster;
use super::wire::{self, Answer, LowerName, Query, Rcode, Rejected, kind};

/// Lifetime of our records in seconds. Short, because clients such as reverse proxies keep an address for as long as it says
/// although the container has moved; not 0, which some caches read as "for ever".
pub const TTL_S: u32 = 1;

/// A view whose networks are looked up: what one sandbox is answered from.
#[derive(Debug)]
pub struct Scope {
    /// The view as planned.
    pub view: Arc<DnsView>,
    /// The table of each network of the view, in the same order.
    pub networks: Vec<Arc<ArcSwap<NetworkNames>>>,
    /// The names of the cluster, where it is its name service.
    pub cluster: Option<Arc<ArcSwap<ClusterNames>>>,
}

/// How a query came, and so how large its answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// One datagram.
    Udp,
    /// A stream of messages with length prefixes.
    Tcp,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer is in the buffer.
    Reply,
    /// The servers outside are to be asked. The length of the question is for checking their answer.
    Forward {
        /// Octets of name, type and class behind the header.
        question: usize,
    },
    /// The name stands for another, of which the servers outside are to be asked.
    Follow {
        /// That name.
        target: String,
    },
    /// No answer is due.
    Drop,
}

/// Judges one packet. `turn` rotates the addresses of a shared name; `out` must be empty and holds the reply, if there is one.
pub fn answer(scope: &Scope, packet: &[u8], transport: Transport, turn: usize, out: &mut Vec<u8>) -> Verdict {
    let query = match Query::parse(packet) {
        Ok(query) => query,
        Err(Rejected::Silently) => return Verdict::Drop,
        Err(Rejected::With(rcode)) => {
            wire::reject(packet, rcode, out);
            return Verdict::Reply;
        }
    };
    if query.edns.is_some_and(|edns| edns.version != 0) {
        return reply(&query, transport, out, Rcode::BadVers, |_| {});
    }
    if let Some(names) = &scope.cluster {
        let names = names.load();
        if let Some(found) = cluster::find(&names, &query) {
            if let Some(target) = cluster::outside(&names, &found, query.kind) {
                return Verdict::Follow { target };
            }
            let rcode = cluster::rcode(&found);
            return reply(&query, transport, out, rcode, |answer| cluster::write(&names, &found, &query, turn, answer));
        }
    }
    if let Some(name) = &query.name
        && let Some(found) = scope.find(name, query.kind)
    {
        return reply(&query, transport, out, Rcode::NoError, |answer| found.write(query.kind, turn, answer));
    }
    match &scope.view.forward {
        _ if scope.keeps(&query) => reply(&query, transport, out, Rcode::NoError, |_| {}),
        Forward::Upstream(servers) if !servers.is_empty() => Verdict::Forward { question: query.question.len() },
        Forward::Upstream(_) | Forward::Refuse => reply(&query, transport, out, Rcode::ServFail, |_| {}),
    }
}

/// Writes the answer for a query of a name that stands for another, with what was heard of that one.
pub fn follow(packet: &[u8], target: &str, heard: &[u8], transport: Transport, out: &mut Vec<u8>) {
    if let Ok(query) = Query::parse(packet) {
        reply(&query, transport, out, Rcode::NoError, |answer| cluster::write_heard(target, heard, query.kind, answer));
    }
}

/// Writes the answer for a query that had to be forwarded and got nothing.
pub fn fail(packet: &[u8], transport: Transport, out: &mut Vec<u8>) {
    if let Ok(query) = Query::parse(packet) {
        reply(&query, transport, out, Rcode::ServFail, |_| {});
    }
}

fn reply(
    query: &Query<'_>,
    transport: Transport,
    out: &mut Vec<u8>,
    rcode: Rcode,
    write: impl FnOnce(&mut Answer<'_>),
) -> Verdict {
    let limit = match transport {
        Transport::Udp => query.udp_limit(),
        Transport::Tcp => wire::MAX_TCP,
    };
    let mut answer = Answer::new(query, limit, out);
    write(&mut answer);
    answer.finish(rcode);
    Verdict::Reply
}

impl Scope {
    /// What our networks know of a name; none if it is not ours.
    fn find(&self, name: &LowerName, kind: u16) -> Option<Found> {
        let text = name.as_str()?;
        if kind == kind::PTR
            && let Some(address) = name.reverse()
        {
            let pointer =
                |network: &Arc<ArcSwap<NetworkNames>>| network.load().pointer(address).and_then(wire::encode_name);
            return self.networks.iter().find_map(pointer).map(Found::Pointer);
        }
        // `a.b.c` is the name `a.b.c` on any network, `a.b` on the network `c`, or `a` on the network `b.c`.
        let splits = text.rmatch_indices('.').map(|(dot, _)| (&text[..dot], Some(&text[dot + 1..])));
        std::iter::once((text, None)).chain(splits).find_map(|(name, network)| self.find_on(name, network, kind))
    }

    /// The first network that has an address of the right family decides; else any that knows the name makes it ours.
    fn find_on(&self, name: &str, network: Option<&str>, kind: u16) -> Option<Found> {
        let mut known = None;
        for (attached, names) in self.view.networks.iter().zip(&self.networks) {
            let names = names.load();
            if network.is_some_and(|wanted| !names.network().eq_ignore_ascii_case(wanted)) {
                continue;
            }
            let target = attached.links.get(name).map_or(name, String::as_str);
            if let Some(addresses) = names.addresses(target) {
                let found = Found::Addresses(addresses.clone());
                if has(addresses, kind) {
                    return Some(found);
                }
                known = known.or(Some(found));
            }
        }
        known
    }

    /// Whether an unknown name is kept from the servers outside because the client has a search list to try.
    fn keeps(&self, query: &Query<'_>) -> bool {
        let single = || query.name.as_ref().and_then(LowerName::as_str).is_some_and(|name| !name.contains('.'));
        self.view.unqualified == Unqualified::Keep && matches!(query.kind, kind::A | kind::AAAA) && single()
    }
}

/// What our networks know of a name.
enum Found {
    Addresses(Arc<Addresses>),
    Pointer(Vec<u8>),
}

impl Found {
    /// Writes the records of the kind asked for; there may be none, and then the name exists all the same.
    fn write(&self, kind: u16, turn: usize, answer: &mut Answer<'_>) {
        match self {
            Self::Pointer(name) => answer.record(kind::PTR, TTL_S, name),
            Self::Addresses(addresses) => {
                if matches!(kind, kind::A | kind::ANY) {
                    rotated(&addresses.v4, turn).for_each(|address| answer.record(kind::A, TTL_S, &address.octets()));
                }
                if matches!(kind, kind::AAAA | kind::ANY) {
                    rotated(&addresses.v6, turn)
                        .for_each(|address| answer.record(kind::AAAA, TTL_S, &address.octets()));
                }
            }
        }
    }
}

fn has(addresses: &Addresses, kind: u16) -> bool {
    match kind {
        kind::A => !addresses.v4.is_empty(),
        kind::AAAA => !addresses.v6.is_empty(),
        _ => true,
    }
}

pub(super) fn rotated<T>(list: &[T], turn: usize) -> impl Iterator<Item = &T> {
    let (front, back) = list.split_at(turn.checked_rem(list.len()).unwrap_or(0));
    back.iter().chain(front)
}
