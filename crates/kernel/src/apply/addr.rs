//! Addresses on links.

use std::collections::BTreeSet;

use ipnet::IpNet;
use libc::{NLM_F_CREATE, NLM_F_EXCL, RTM_DELADDR, RTM_NEWADDR, RTM_SETLINK};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol},
    link::{LinkAttribute, LinkMessage},
};
use netstate::{Key, Op, addr::AddrKey, link::LinkKey, netns::NetnsName};

use super::unless_gone;
use crate::{
    fault::Refusal,
    linux::Linux,
    mark::PROTOCOL,
    netlink::{Socket, link::LinkFacts, route},
    observe,
};

/// Adds an address. One that is there as ours already is fine.
pub(crate) fn create(linux: &mut Linux, key: &AddrKey) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&key.link.netns)?.route;
    let index = route::index_of(socket, key.link.name.as_str())?;
    let mut message = message(key, index);
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    match key.address {
        IpNet::V4(net) if net.prefix_len() < 31 => {
            message.attributes.push(AddressAttribute::Broadcast(net.broadcast()))
        }
        IpNet::V4(_) => {}
        IpNet::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    match socket.ask(route::request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &message)) {
        Err(refusal) if refusal.errno == libc::EEXIST => allow_ours(socket, key, index, refusal),
        other => other,
    }
}

/// Removes an address.
pub(crate) fn delete(linux: &mut Linux, key: &AddrKey) -> Result<(), Refusal> {
    let delete = |linux: &mut Linux| {
        let socket = &mut linux.sockets(&key.link.netns)?.route;
        let index = route::index_of(socket, key.link.name.as_str())?;
        socket.ask(route::request(RTM_DELADDR, 0, &message(key, index)))
    };
    unless_gone(delete(linux))
}

/// Tells the neighbours of addresses that are new in namespaces of ours: they may remember other Ethernet addresses for them. The kernel does
/// it (gratuitous ARP, unsolicited neighbour advertisement) when a link's Ethernet address is set, be it to what it was.
pub(crate) fn announce(linux: &mut Linux, done: &[Op]) {
    let of_new = |op: &Op| match op {
        Op::Create { key: Key::Addr(key), .. } if key.link.netns != NetnsName::Host => Some(key.link.clone()),
        _ => None,
    };
    for link in done.iter().filter_map(of_new).collect::<BTreeSet<_>>() {
        // Neighbours that are not told find out by themselves, some seconds later.
        let _ = set_same_mac(linux, &link);
    }
}

fn set_same_mac(linux: &mut Linux, key: &LinkKey) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&key.netns)?.route;
    let Some(LinkFacts { index, mac: Some(mac), .. }) = route::link_by_name(socket, key.name.as_str())? else {
        return Ok(());
    };
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Address(mac.to_vec()));
    socket.ask(route::request(RTM_SETLINK, 0, &message))
}

fn message(key: &AddrKey, index: u32) -> AddressMessage {
    let address = key.address.addr();
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = key.address.prefix_len();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    message
}

fn allow_ours(socket: &mut Socket, key: &AddrKey, index: u32, refusal: Refusal) -> Result<(), Refusal> {
    let ours = AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL));
    let there = observe::addr::list(socket)?;
    let is_it = |m: &&AddressMessage| m.header.index == index && observe::addr::address(m) == Some(key.address);
    match there.iter().find(is_it) {
        Some(message) if message.attributes.contains(&ours) => Ok(()),
        Some(_) => Err(refusal.because(format!(
            "the address {} is already on link {} and not linkspan's; remove it with `ip address delete`",
            key.address, key.link.name
        ))),
        None => {
            Err(refusal.because(format!("the address {} is already on link {}", key.address.addr(), key.link.name)))
        }
    }
}
