//! Addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netstate::{
    NetState,
    addr::{Addr, AddrKey},
    link::LinkKey,
    netns::NetnsName,
};

use super::link::Ours;
use crate::{
    fault::Refusal,
    mark::PROTOCOL,
    netlink::{Socket, route},
};

/// Adds the addresses of our links that are ours.
pub(crate) fn observe(
    socket: &mut Socket,
    netns: &NetnsName,
    ours: &Ours,
    state: &mut NetState,
) -> Result<(), Refusal> {
    let messages = list(socket)?;
    let marks = messages.iter().any(|m| protocol(m).is_some());
    for message in &messages {
        let (Some(name), Some(address)) = (ours.get(&message.header.index), address(message)) else { continue };
        if is_ours(message, address, marks) {
            state.put(AddrKey { link: LinkKey { netns: netns.clone(), name: name.clone() }, address }, Addr {});
        }
    }
    Ok(())
}

/// All addresses of the socket's namespace.
pub(crate) fn list(socket: &mut Socket) -> Result<Vec<AddressMessage>, Refusal> {
    route::dump(socket, libc::RTM_GETADDR, &AddressMessage::default())
}

/// The address with its prefix length. Of a point-to-point one, the end here.
pub(crate) fn address(message: &AddressMessage) -> Option<IpNet> {
    let pick = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(wanted);
    let local = pick(|a| if let AddressAttribute::Local(a) = a { Some(*a) } else { None });
    let address = local.or_else(|| pick(|a| if let AddressAttribute::Address(a) = a { Some(*a) } else { None }))?;
    IpNet::new(address, message.header.prefix_len).ok()
}

/// A kernel before 5.18 keeps no protocol number: on our links all but its own link-local addresses are taken for ours there.
fn is_ours(message: &AddressMessage, address: IpNet, kernel_marks: bool) -> bool {
    if kernel_marks {
        return protocol(message) == Some(AddressProtocol::Other(PROTOCOL));
    }
    !matches!(address, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

fn protocol(message: &AddressMessage) -> Option<AddressProtocol> {
    message.attributes.iter().find_map(|a| if let AddressAttribute::Protocol(p) = a { Some(*p) } else { None })
}
