//! Routes.

use std::net::IpAddr;

use netstate::{
    Key,
    link::{Admin, LinkKey},
    route::{MAIN, Route, RouteKey},
};

use crate::host::{Outcome, World, refuse};

/// What the kernel makes of metric 0 for IPv6 (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

pub(crate) fn create(world: &mut World, key: &RouteKey, route: &Route) -> Outcome {
    check(world, key, route)?;
    let mut key = key.clone();
    if key.destination.addr().is_ipv6() && key.metric == 0 {
        key.metric = IPV6_METRIC;
    }
    if world.state.has(&Key::Route(key.clone())) || is_connected(world, &key) {
        return refuse(libc::EEXIST, "there is such a route");
    }
    world.insert(key, route.clone());
    Ok(())
}

pub(crate) fn change(world: &mut World, key: &RouteKey, route: &Route) -> Outcome {
    if !world.state.has(&Key::Route(key.clone())) {
        return refuse(libc::ENOENT, "there is no such route");
    }
    check(world, key, route)?;
    world.insert(key.clone(), route.clone());
    Ok(())
}

fn check(world: &World, key: &RouteKey, route: &Route) -> Outcome {
    let link = LinkKey { netns: key.netns.clone(), name: route.device.clone() };
    let Some(seen) = world.state.link(&link) else {
        return refuse(libc::ENODEV, format!("there is no link {link}"));
    };
    if key.destination != key.destination.trunc() {
        return refuse(libc::EINVAL, format!("{} has bits set after its prefix", key.destination));
    }
    if seen.admin == Admin::Down {
        return refuse(libc::ENETDOWN, format!("{link} is down"));
    }
    let Some(via) = route.via else { return Ok(()) };
    if via.is_ipv4() != key.destination.addr().is_ipv4() {
        return refuse(libc::EINVAL, "the next hop is of another family than the destination");
    }
    if world.state.addrs_in(&key.netns).any(|addr| addr.address.addr() == via) {
        return refuse(libc::EINVAL, format!("the next hop {via} is an address of this namespace"));
    }
    if !on_link(world, &link, via) {
        return refuse(libc::ENETUNREACH, format!("the next hop {via} is not in a network of {link}"));
    }
    Ok(())
}

/// Whether an address is in a network of the link, or has a route onto it without next hop.
fn on_link(world: &World, link: &LinkKey, address: IpAddr) -> bool {
    let in_network = world.state.addrs(link).any(|addr| addr.address.contains(&address));
    in_network
        || world.state.routes_by(link).any(|(key, route)| route.via.is_none() && key.destination.contains(&address))
}

/// An IPv4 address brings a route of metric 0 to its network.
fn is_connected(world: &World, key: &RouteKey) -> bool {
    let ipv4_main = key.destination.addr().is_ipv4() && key.table == MAIN && key.metric == 0;
    ipv4_main
        && world.state.addrs_in(&key.netns).any(|addr| {
            let up = world.state.link(&addr.link).is_some_and(|link| link.admin == Admin::Up);
            up && addr.address.trunc() == key.destination
        })
}
