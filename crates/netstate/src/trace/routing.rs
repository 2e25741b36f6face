//! Which way, and which addresses are whose.

use std::{
    cmp::Reverse,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::IpNet;

use super::Surroundings;
use crate::{
    addr::AddrKey,
    link::{Admin, LinkKey},
    netns::NetnsName,
    route::MAIN,
    state::{Key, NetState},
};

/// A way out of a namespace.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub link: LinkKey,
    pub via: Option<IpAddr>,
    pub by: Option<Key>,
}

/// The route to a destination that is not local: the longest prefix, then the lowest metric; links that are down have none.
pub(super) fn lookup(state: &NetState, around: &Surroundings, netns: &NetnsName, destination: IpAddr) -> Option<Way> {
    let connected = addrs(state, around, netns).map(|(addr, ours)| {
        let by = ours.then(|| Key::Addr(addr.clone()));
        (addr.address.trunc(), 0, Way { link: addr.link.clone(), via: None, by })
    });
    let ours = state.routes(netns).map(|(key, route)| (key, route, Some(Key::Route(key.clone()))));
    let others = around.routes.iter().filter(|(key, _)| key.netns == *netns).map(|(key, route)| (key, route, None));
    let routes = ours.chain(others).filter(|(key, ..)| key.table == MAIN).map(|(key, route, by)| {
        let link = LinkKey { netns: netns.clone(), name: route.device.clone() };
        (key.destination, key.metric, Way { link, via: route.via, by })
    });
    let leads_there = |(net, _, way): &(IpNet, u32, Way)| net.contains(&destination) && is_up(state, &way.link);
    let best =
        connected.chain(routes).filter(leads_there).min_by_key(|(net, metric, _)| (Reverse(net.prefix_len()), *metric));
    best.map(|(_, _, way)| way)
}

/// Whether a link is up. Those of others are taken to be.
pub(super) fn is_up(state: &NetState, link: &LinkKey) -> bool {
    state.link(link).is_none_or(|link| link.admin == Admin::Up)
}

/// The addresses of a namespace, and whether each is ours.
pub(super) fn addrs<'a>(
    state: &'a NetState,
    around: &'a Surroundings,
    netns: &'a NetnsName,
) -> impl Iterator<Item = (&'a AddrKey, bool)> {
    let others = around.addrs.iter().filter(move |addr| addr.link.netns == *netns);
    state.addrs_in(netns).map(|addr| (addr, true)).chain(others.map(|addr| (addr, false)))
}

/// The link that has the address in a namespace; loopback for loopback's.
pub(super) fn local(state: &NetState, around: &Surroundings, netns: &NetnsName, address: IpAddr) -> Option<LinkKey> {
    if address.is_loopback() {
        return loopback(netns);
    }
    addrs(state, around, netns).find(|(addr, _)| addr.address.addr() == address).map(|(addr, _)| addr.link.clone())
}

/// The loopback link, which every namespace has.
pub(super) fn loopback(netns: &NetnsName) -> Option<LinkKey> {
    Some(LinkKey { netns: netns.clone(), name: "lo".parse().ok()? })
}

/// The address to send from to an address of the same namespace: itself in IPv6, in IPv4 the first of its network on the link, as the kernel's
/// own routes to local addresses say (`fib_add_ifaddr`).
pub(super) fn own_source(state: &NetState, around: &Surroundings, owner: &LinkKey, destination: IpAddr) -> IpAddr {
    match destination {
        IpAddr::V6(_) => destination,
        IpAddr::V4(address) if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V4(_) => source(state, around, owner, destination).unwrap_or(destination),
    }
}

/// The address to send from by a link to a destination or next hop: of its network, else the link's first, else any of the namespace
/// (`inet_select_addr` in the kernel).
pub(super) fn source(state: &NetState, around: &Surroundings, link: &LinkKey, towards: IpAddr) -> Option<IpAddr> {
    let fits = |addr: &AddrKey| addr.address.addr().is_ipv4() == towards.is_ipv4();
    let all: Vec<&AddrKey> =
        addrs(state, around, &link.netns).map(|(addr, _)| addr).filter(|addr| fits(addr)).collect();
    let on_link = || all.iter().filter(|addr| addr.link == *link);
    let best =
        on_link().find(|addr| addr.address.contains(&towards)).or_else(|| on_link().next()).or_else(|| all.first());
    best.map(|addr| addr.address.addr())
}
