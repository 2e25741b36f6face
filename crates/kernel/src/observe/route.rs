//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType, RouteVia},
};
use netstate::{
    NetState,
    netns::NetnsName,
    route::{Route, RouteKey},
};

use super::link::Ours;
use crate::{
    fault::Refusal,
    mark::PROTOCOL,
    netlink::{Socket, route},
};

/// Adds our routes over our links. A container's default route, set by us, is foreign to a linkspan inside the container, whose
/// protocol number is the same: there it leads over a link that is not marked.
pub(crate) fn observe(
    socket: &mut Socket,
    netns: &NetnsName,
    ours: &Ours,
    state: &mut NetState,
) -> Result<(), Refusal> {
    for message in list(socket, RouteProtocol::Other(PROTOCOL))? {
        let Some(facts) = facts(&message) else { continue };
        if let Some(device) = facts.device.and_then(|index| ours.get(&index)) {
            let key = RouteKey {
                netns: netns.clone(),
                table: facts.table,
                destination: facts.destination,
                metric: facts.metric,
            };
            state.put(key, Route { device: device.clone(), via: facts.via });
        }
    }
    Ok(())
}

/// The unicast IPv4 and IPv6 routes of all tables with this protocol number; `Unspec` for all. The kernel filters where it can.
pub(crate) fn list(socket: &mut Socket, protocol: RouteProtocol) -> Result<Vec<RouteMessage>, Refusal> {
    let mut messages = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut ask = RouteMessage::default();
        ask.header =
            RouteHeader { address_family: family, protocol, kind: RouteType::Unicast, ..RouteHeader::default() };
        messages.extend(route::dump::<RouteMessage>(socket, libc::RTM_GETROUTE, &ask)?);
    }
    messages.retain(|m| protocol == RouteProtocol::Unspec || m.header.protocol == protocol);
    Ok(messages)
}

/// What interests us of a route.
#[derive(Clone, Debug)]
pub(crate) struct RouteFacts {
    pub destination: IpNet,
    pub table: u32,
    pub metric: u32,
    pub device: Option<u32>,
    pub via: Option<IpAddr>,
    pub mtu: Option<u32>,
}

impl RouteFacts {
    /// Whether the kernel takes it for the same route.
    pub fn is(&self, key: &RouteKey) -> bool {
        (self.destination, self.table, self.metric) == (key.destination, key.table, key.metric)
    }
}

/// Reads a unicast route that is not one of the kernel's cache.
pub(crate) fn facts(message: &RouteMessage) -> Option<RouteFacts> {
    let header = &message.header;
    if header.kind != RouteType::Unicast {
        return None;
    }
    let unspecified: IpAddr = match header.address_family {
        AddressFamily::Inet => Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    let mut facts = RouteFacts {
        destination: IpNet::new(unspecified, header.destination_prefix_length).ok()?,
        table: header.table.into(),
        metric: 0,
        device: None,
        via: None,
        mtu: None,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(to) => {
                facts.destination = IpNet::new(ip(to)?, header.destination_prefix_length).ok()?
            }
            RouteAttribute::Table(table) => facts.table = *table,
            RouteAttribute::Priority(metric) => facts.metric = *metric,
            RouteAttribute::Oif(index) => facts.device = Some(*index),
            RouteAttribute::Gateway(via) => facts.via = ip(via),
            RouteAttribute::Via(RouteVia::Inet6(via)) => facts.via = Some((*via).into()),
            RouteAttribute::Metrics(metrics) => facts.mtu = mtu(metrics),
            _ => {}
        }
    }
    Some(facts)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some((*a).into()),
        RouteAddress::Inet6(a) => Some((*a).into()),
        _ => None,
    }
}

fn mtu(metrics: &[netlink_packet_route::route::RouteMetric]) -> Option<u32> {
    metrics
        .iter()
        .find_map(|m| if let netlink_packet_route::route::RouteMetric::Mtu(mtu) = m { Some(*mtu) } else { None })
}
