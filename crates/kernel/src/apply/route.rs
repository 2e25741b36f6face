//! Routes.

use std::net::IpAddr;

use libc::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, RTM_DELROUTE, RTM_NEWROUTE};
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia},
};
use netstate::route::{Route, RouteKey};

use super::unless_gone;
use crate::{
    fault::Refusal,
    linux::Linux,
    mark::PROTOCOL,
    netlink::{Socket, route},
    observe,
};

/// Adds a route. One of ours that is there is replaced; a foreign one is left alone.
pub(crate) fn create(linux: &mut Linux, key: &RouteKey, wanted: &Route) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&key.netns)?.route;
    let message = message(socket, key, Some(wanted))?;
    let Err(refusal) = socket.ask(route::request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &message)) else {
        return Ok(());
    };
    if refusal.errno != libc::EEXIST {
        return Err(explain(refusal, wanted));
    }
    let ours = observe::route::list(socket, RouteProtocol::Other(PROTOCOL))?;
    if !ours.iter().any(|m| observe::route::facts(m).is_some_and(|f| f.is(key))) {
        return Err(refusal
            .because(format!("a route to {} that linkspan did not make is there; see `ip route`", key.destination)));
    }
    socket.ask(route::request(RTM_NEWROUTE, NLM_F_REPLACE, &message))
}

/// Puts a route in the place of ours of the same key.
pub(crate) fn replace(linux: &mut Linux, key: &RouteKey, wanted: &Route) -> Result<(), Refusal> {
    let socket = &mut linux.sockets(&key.netns)?.route;
    let message = message(socket, key, Some(wanted))?;
    socket
        .ask(route::request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &message))
        .map_err(|refusal| explain(refusal, wanted))
}

/// Removes a route of ours.
pub(crate) fn delete(linux: &mut Linux, key: &RouteKey) -> Result<(), Refusal> {
    let delete = |linux: &mut Linux| {
        let socket = &mut linux.sockets(&key.netns)?.route;
        let message = message(socket, key, None)?;
        socket.ask(route::request(RTM_DELROUTE, 0, &message))
    };
    unless_gone(delete(linux))
}

fn message(socket: &mut Socket, key: &RouteKey, wanted: Option<&Route>) -> Result<RouteMessage, Refusal> {
    let destination = key.destination.network();
    let via = wanted.and_then(|w| w.via);
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if destination.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: key.destination.prefix_len(),
        table: u8::try_from(key.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
        protocol: RouteProtocol::Other(PROTOCOL),
        kind: RouteType::Unicast,
        scope: match (wanted, via) {
            (None, _) => RouteScope::NoWhere,
            (_, None) if destination.is_ipv4() => RouteScope::Link,
            _ => RouteScope::Universe,
        },
        ..RouteHeader::default()
    };
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Destination(destination.into()));
    attributes.push(RouteAttribute::Table(key.table));
    if key.metric != 0 {
        attributes.push(RouteAttribute::Priority(key.metric));
    }
    match (destination, via) {
        (IpAddr::V4(_), Some(IpAddr::V6(via))) => attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        (_, Some(via)) => attributes.push(RouteAttribute::Gateway(via.into())),
        _ => {}
    }
    if let Some(wanted) = wanted {
        attributes.push(RouteAttribute::Oif(route::index_of(socket, wanted.device.as_str())?));
    }
    Ok(message)
}

fn explain(refusal: Refusal, wanted: &Route) -> Refusal {
    match (refusal.errno, wanted.via) {
        (libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL, Some(via)) => {
            refusal.because(format!("the gateway {via} must be on a network of link {}", wanted.device))
        }
        (libc::ENETDOWN, _) => refusal.because(format!("link {} is down", wanted.device)),
        _ => refusal,
    }
}
