//! Addresses on links.

use ipnet::IpNet;
use libc::{NLM_F_CREATE, NLM_F_EXCL, RTM_DELADDR, RTM_NEWADDR};
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol},
};
use netstate::addr::AddrKey;

use super::unless_gone;
use crate::{
    fault::Refusal,
    linux::Linux,
    mark::PROTOCOL,
    netlink::{Socket, route},
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
