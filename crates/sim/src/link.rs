//! Links: bridges, their ports, veth pairs.

use netstate::{
    Key, Object,
    link::{Admin, IfName, Link, LinkKey, LinkKind},
    netns::NetnsName,
};

use crate::host::{Outcome, World, refuse};

/// Smallest and largest MTU of an Ethernet link in bytes (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
const MTU_BYTES: std::ops::RangeInclusive<u32> = 68..=65535;
/// Longest alias in bytes (`IFALIASZ` without the end).
const ALIAS_MAX_BYTES: usize = 255;
/// What a veth's second end starts with.
const PEER_MTU_BYTES: u32 = 1500;

pub(crate) fn create(world: &mut World, key: &LinkKey, link: &Link) -> Outcome {
    if !world.has_netns(&key.netns) {
        return refuse(libc::ENODEV, format!("there is no namespace {}", key.netns));
    }
    check(world, key, link)?;
    match &link.kind {
        LinkKind::Bridge => {
            check_free(world, key)?;
        }
        LinkKind::Veth { peer, peer_mac } => {
            check_free(world, key)?;
            if !world.has_netns(&peer.netns) {
                return refuse(libc::ENODEV, format!("there is no namespace {} for the other end", peer.netns));
            }
            check_free(world, peer)?;
            if key == peer {
                return refuse(libc::EEXIST, "both ends have one name");
            }
            check_mac(*peer_mac)?;
            let kind = LinkKind::VethPeer { of: key.clone() };
            let second =
                Link { kind, mac: *peer_mac, mtu: PEER_MTU_BYTES, admin: Admin::Down, port: None, alias: None };
            world.insert(peer.clone(), second);
        }
        LinkKind::VethPeer { of } => {
            let first = world.state.link(of).map(|first| &first.kind);
            if !matches!(first, Some(LinkKind::Veth { peer, .. }) if peer == key) {
                return refuse(libc::ENODEV, format!("{of} is not there, or is not its first end"));
            }
            return change(world, key, link);
        }
    }
    world.insert(key.clone(), link.clone());
    Ok(())
}

pub(crate) fn change(world: &mut World, key: &LinkKey, link: &Link) -> Outcome {
    let Some(seen) = world.state.link(key).cloned() else {
        return refuse(libc::ENODEV, "there is no such link");
    };
    check(world, key, link)?;
    let same_kind = match (&seen.kind, &link.kind) {
        (LinkKind::Bridge, LinkKind::Bridge) => true,
        (LinkKind::Veth { peer: a, .. }, LinkKind::Veth { peer: b, .. }) => a == b,
        (LinkKind::VethPeer { of: a }, LinkKind::VethPeer { of: b }) => a == b,
        _ => false,
    };
    if !same_kind {
        return refuse(libc::EOPNOTSUPP, "a link's kind cannot be changed");
    }
    if seen.admin == Admin::Up && link.admin == Admin::Down {
        flush(world, key);
    }
    let mut link = link.clone();
    match &link.kind {
        LinkKind::VethPeer { of } => mirror_mac(world, of, &link),
        LinkKind::Veth { .. } => link.kind = seen.kind,
        LinkKind::Bridge => {}
    }
    world.insert(key.clone(), link);
    Ok(())
}

/// The first end of a pair tells its peer's address; it follows when that changes.
fn mirror_mac(world: &mut World, first: &LinkKey, second: &Link) {
    if let Some(Object::Link(link)) = world.state.objects.get_mut(&Key::Link(first.clone()))
        && let LinkKind::Veth { peer_mac, .. } = &mut link.kind
    {
        *peer_mac = second.mac;
    }
}

/// A link set down loses its routes and its IPv6 addresses, not its IPv4 ones.
fn flush(world: &mut World, link: &LinkKey) {
    world.remove_if(|key, object| match (key, object) {
        (Key::Route(key), Object::Route(route)) => key.netns == link.netns && route.device == link.name,
        (Key::Addr(key), _) => key.link == *link && key.address.addr().is_ipv6(),
        _ => false,
    });
}

/// Ports of a bridge stay as they are, without a bridge; the other end of a pair goes too.
pub(crate) fn delete(world: &mut World, key: &LinkKey) -> Outcome {
    let Some(link) = world.state.link(key) else { return Ok(()) };
    let other_end = match &link.kind {
        LinkKind::Bridge => None,
        LinkKind::Veth { peer, .. } => Some(peer.clone()),
        LinkKind::VethPeer { of } => Some(of.clone()),
    };
    for key in [Some(key), other_end.as_ref()].into_iter().flatten() {
        forget(world, key);
    }
    Ok(())
}

fn forget(world: &mut World, link: &LinkKey) {
    let ports: Vec<_> =
        world.state.ports(link).map(|(key, port)| (key.clone(), Link { port: None, ..port.clone() })).collect();
    for (key, port) in ports {
        world.insert(key, port);
    }
    world.remove_if(|key, object| match (key, object) {
        (Key::Link(key), _) => key == link,
        (Key::Sysctl(key), _) => key.link().as_ref() == Some(link),
        (Key::Addr(key), _) => key.link == *link,
        (Key::Route(key), Object::Route(route)) => key.netns == link.netns && route.device == link.name,
        _ => false,
    });
}

fn check_free(world: &World, key: &LinkKey) -> Outcome {
    let loopback = key.name.as_str() == "lo";
    if loopback || world.state.has(&Key::Link(key.clone())) {
        return refuse(libc::EEXIST, format!("there is a link {key} already"));
    }
    Ok(())
}

fn check(world: &World, key: &LinkKey, link: &Link) -> Outcome {
    if !MTU_BYTES.contains(&link.mtu) {
        return refuse(libc::EINVAL, format!("an MTU of {} bytes is out of range", link.mtu));
    }
    if link.alias.as_ref().is_some_and(|alias| alias.len() > ALIAS_MAX_BYTES) {
        return refuse(libc::EINVAL, "the alias is too long");
    }
    check_mac(link.mac)?;
    let Some(port) = &link.port else { return Ok(()) };
    check_master(world, &key.netns, &port.bridge)?;
    if link.kind == LinkKind::Bridge {
        return refuse(libc::ELOOP, "a bridge cannot be a port of a bridge");
    }
    Ok(())
}

fn check_master(world: &World, netns: &NetnsName, bridge: &IfName) -> Outcome {
    let key = LinkKey { netns: netns.clone(), name: bridge.clone() };
    match world.state.link(&key).map(|master| &master.kind) {
        None => refuse(libc::ENODEV, format!("there is no link {key} to be a port of")),
        Some(LinkKind::Bridge) => Ok(()),
        Some(_) => refuse(libc::EOPNOTSUPP, format!("{key} is not a bridge")),
    }
}

/// `is_valid_ether_addr` in the kernel.
fn check_mac(mac: netstate::link::MacAddr) -> Outcome {
    let multicast = mac.0[0] & 1 == 1;
    if multicast || mac.0 == [0; 6] {
        return refuse(libc::EADDRNOTAVAIL, format!("{mac} is not the address of one link"));
    }
    Ok(())
}
