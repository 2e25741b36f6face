//! Addresses.

use netstate::{
    Key, Object,
    addr::{Addr, AddrKey},
    link::LinkKey,
};

use crate::{
    host::{Outcome, World, refuse},
    sysctl,
};

pub(crate) fn create(world: &mut World, key: &AddrKey) -> Outcome {
    if world.state.link(&key.link).is_none() {
        return refuse(libc::ENODEV, format!("there is no link {}", key.link));
    }
    if world.state.has(&Key::Addr(key.clone())) {
        return refuse(libc::EEXIST, "the link has that address");
    }
    let without_ipv6 = format!("net/ipv6/conf/{}/disable_ipv6", key.link.name);
    if key.address.addr().is_ipv6() && sysctl::is_on(world, &key.link.netns, &without_ipv6) {
        return refuse(libc::EACCES, format!("IPv6 is off on {}: set {without_ipv6} to 0", key.link));
    }
    world.insert(key.clone(), Addr {});
    Ok(())
}

/// With the first IPv4 address of a network on a link go the others of it, unless `promote_secondaries` is set (`__inet_del_ifa`); with a
/// link's last one go its IPv4 routes.
pub(crate) fn delete(world: &mut World, key: &AddrKey) -> Outcome {
    if !world.state.has(&Key::Addr(key.clone())) {
        return Ok(());
    }
    let is_ipv4 = key.address.addr().is_ipv4();
    let shares = |other: &&AddrKey| **other != *key && other.address.trunc() == key.address.trunc();
    let others: Vec<AddrKey> = world.state.addrs(&key.link).filter(shares).cloned().collect();
    let is_primary = others.iter().all(|other| world.births.get(other) > world.births.get(key));
    let promotes = format!("net/ipv4/conf/{}/promote_secondaries", key.link.name);
    if is_ipv4 && is_primary && !sysctl::is_on(world, &key.link.netns, &promotes) {
        for other in others {
            world.remove(&Key::Addr(other));
        }
    }
    world.remove(&Key::Addr(key.clone()));
    if is_ipv4 && !world.state.addrs(&key.link).any(|addr| addr.address.addr().is_ipv4()) {
        flush_ipv4_routes(world, &key.link);
    }
    Ok(())
}

fn flush_ipv4_routes(world: &mut World, link: &LinkKey) {
    world.remove_if(|key, object| match (key, object) {
        (Key::Route(key), Object::Route(route)) => {
            key.netns == link.netns && route.device == link.name && key.destination.addr().is_ipv4()
        }
        _ => false,
    });
}
