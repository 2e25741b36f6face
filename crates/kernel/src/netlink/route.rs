//! rtnetlink(7) by `netlink-packet-route`: requests, and the look-ups that every kind needs.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd},
};

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::{
    AddressFamily,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    nsid::{NsidAttribute, NsidHeader, NsidMessage},
};

use super::{
    Message, Request, Socket,
    link::{self, LinkFacts},
};
use crate::fault::Refusal;

/// A request with this message.
pub(crate) fn request(kind: u16, flags: i32, message: &impl Emitable) -> Request {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    Request::new(kind, flags, body)
}

/// Reads a list of one family. What the decoder does not know is left out: ours are bridges and veths, and those it knows.
pub(crate) fn dump<M: Parseable<[u8]>>(socket: &mut Socket, kind: u16, ask: &impl Emitable) -> Result<Vec<M>, Refusal> {
    let found = RefCell::new(Vec::new());
    let body = request(kind, 0, ask).body;
    socket.dump(
        kind,
        &body,
        || found.borrow_mut().clear(),
        |message| found.borrow_mut().extend(M::parse(message.body).ok()),
    )?;
    Ok(found.into_inner())
}

/// All links of the socket's namespace, by index.
pub(crate) fn links(socket: &mut Socket) -> Result<BTreeMap<u32, LinkFacts>, Refusal> {
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let found = RefCell::new(BTreeMap::new());
    socket.dump(
        libc::RTM_GETLINK,
        &request(libc::RTM_GETLINK, 0, &ask).body,
        || found.borrow_mut().clear(),
        |message| found.borrow_mut().extend(link::facts(message.body).map(|facts| (facts.index, facts))),
    )?;
    Ok(found.into_inner())
}

/// The link of this name; none when it is not there.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<LinkFacts>, Refusal> {
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::IfName(name.to_owned()));
    one_link(socket, ask)
}

/// The link of this index; none when it is not there.
pub(crate) fn link_by_index(socket: &mut Socket, index: u32) -> Result<Option<LinkFacts>, Refusal> {
    let mut ask = LinkMessage::default();
    ask.header.index = index;
    one_link(socket, ask)
}

fn one_link(socket: &mut Socket, mut ask: LinkMessage) -> Result<Option<LinkFacts>, Refusal> {
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut found = None;
    let get = request(libc::RTM_GETLINK, 0, &ask);
    match one(socket, get, |message| found = link::facts(message.body)) {
        Ok(()) => Ok(found),
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// The index of the link of this name.
pub(crate) fn index_of(socket: &mut Socket, name: &str) -> Result<u32, Refusal> {
    match link_by_name(socket, name)? {
        Some(link) => Ok(link.index),
        None => Err(Refusal::new(libc::ENODEV).because(format!("there is no link {name}"))),
    }
}

/// The number by which links in the socket's namespace refer to another one; none when none does.
pub(crate) fn namespace_id(socket: &mut Socket, namespace: impl AsFd) -> Result<Option<i32>, Refusal> {
    let mut ask = NsidMessage::default();
    ask.header = NsidHeader { family: AddressFamily::Unspec };
    ask.attributes.push(NsidAttribute::Fd(namespace.as_fd().as_raw_fd() as u32));
    let mut found = None;
    let get = request(libc::RTM_GETNSID, 0, &ask);
    one(socket, get, |message| found = NsidMessage::parse(message.body).ok())?;
    let id = found
        .into_iter()
        .flat_map(|m| m.attributes)
        .find_map(|a| if let NsidAttribute::Id(id) = a { Some(id) } else { None });
    Ok(id.filter(|id| *id >= 0))
}

fn one(socket: &mut Socket, mut get: Request, each: impl FnMut(Message<'_>)) -> Result<(), Refusal> {
    get.flags |= libc::NLM_F_ACK as u16;
    match socket.exchange(&[&get], each)?.pop() {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}
