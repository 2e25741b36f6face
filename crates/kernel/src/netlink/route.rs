//! rtnetlink(7) by `netlink-packet-route`: requests, and the look-ups that every kind needs.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::{
    AddressFamily,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
    nsid::{NsidAttribute, NsidHeader, NsidMessage},
};

use super::{Message, Request, Socket};
use crate::{fault::Refusal, mark};

/// A request with this message.
pub(crate) fn request(kind: u16, flags: i32, message: &impl Emitable) -> Request {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    Request::new(kind, flags, body)
}

/// Reads a list of one family. What the decoder does not know is left out: ours are bridges and veths, and those it knows.
pub(crate) fn dump<M: Parseable<[u8]>>(socket: &mut Socket, kind: u16, ask: &impl Emitable) -> Result<Vec<M>, Refusal> {
    let found = std::cell::RefCell::new(Vec::new());
    let body = request(kind, 0, ask).body;
    socket.dump(
        kind,
        &body,
        || found.borrow_mut().clear(),
        |message| found.borrow_mut().extend(M::parse(message.body).ok()),
    )?;
    Ok(found.into_inner())
}

/// All links of the socket's namespace.
pub(crate) fn links(socket: &mut Socket) -> Result<Vec<LinkMessage>, Refusal> {
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    dump(socket, libc::RTM_GETLINK, &ask)
}

/// The link of this name; none when it is not there.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<LinkMessage>, Refusal> {
    let mut ask = LinkMessage::default();
    ask.attributes.push(LinkAttribute::IfName(name.to_owned()));
    ask.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut found = None;
    let get = request(libc::RTM_GETLINK, 0, &ask);
    match one(socket, get, |message| found = LinkMessage::parse(message.body).ok()) {
        Ok(()) => Ok(found),
        Err(refusal) if refusal.errno == libc::ENODEV => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// The index of the link of this name.
pub(crate) fn index_of(socket: &mut Socket, name: &str) -> Result<u32, Refusal> {
    match link_by_name(socket, name)? {
        Some(link) => Ok(link.header.index),
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
    match socket.exchange(&[get], each)?.pop() {
        Some((_, refusal)) => Err(refusal),
        None => Ok(()),
    }
}

/// What interests us of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub index: u32,
    pub name: String,
    pub kind: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    pub up: bool,
    pub master: Option<u32>,
    /// As a port of a bridge.
    pub hairpin: bool,
    pub alias: Option<String>,
    pub group: u32,
    /// The other end's index, in the namespace of `peer_namespace`.
    pub peer: Option<u32>,
    pub peer_namespace: Option<i32>,
}

impl LinkFacts {
    /// Reads a message of the kernel.
    pub fn of(message: &LinkMessage) -> Self {
        use netlink_packet_route::link::{InfoBridgePort, InfoPortData, LinkFlags, LinkInfo};
        let mut facts =
            Self { index: message.header.index, up: message.header.flags.contains(LinkFlags::Up), ..Self::default() };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => facts.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => facts.mtu = *mtu,
                LinkAttribute::Address(mac) => facts.mac = mac[..].try_into().ok(),
                LinkAttribute::Controller(index) if *index != 0 => facts.master = Some(*index),
                LinkAttribute::IfAlias(alias) => facts.alias = Some(alias.clone()),
                LinkAttribute::Group(group) => facts.group = *group,
                LinkAttribute::Link(index) => facts.peer = Some(*index),
                LinkAttribute::LinkNetNsId(id) => facts.peer_namespace = Some(*id),
                LinkAttribute::LinkInfo(infos) => {
                    facts.kind = infos
                        .iter()
                        .find_map(|i| if let LinkInfo::Kind(kind) = i { Some(kind.to_string()) } else { None });
                    facts.hairpin = infos.iter().any(|info| match info {
                        LinkInfo::PortData(InfoPortData::BridgePort(port)) => {
                            port.contains(&InfoBridgePort::HairpinMode(true))
                        }
                        _ => false,
                    });
                }
                _ => {}
            }
        }
        facts
    }

    /// Whether it carries our mark.
    pub fn is_ours(&self) -> bool {
        let marked = self.alias.as_deref().is_some_and(|a| a.starts_with(mark::ALIAS_PREFIX));
        marked || [mark::LINK_GROUP, mark::DOOMED_GROUP].contains(&self.group)
    }
}
