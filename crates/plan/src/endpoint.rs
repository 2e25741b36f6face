//! An endpoint: a pair of links between its sandbox and its network's bridge, the addresses inside, and explicit links.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{
    Endpoint, EndpointId, State,
    address::Family,
    endpoint::Lease,
    network::{Announce, Bridge, Icc},
    sandbox::{Namespace, Up},
};
use netstate::{
    addr::{Addr, AddrKey},
    link::{Admin, BridgePort, Hairpin, Link, LinkKey, LinkKind},
};

use crate::{
    Wish,
    fragment::{self, Fragment, address, ifname, mac},
    names,
    network::IPV6_MTU,
    sandbox::{has_ipv6, netns},
};

/// What an endpoint comes to. It has a lease while its sandbox is up.
pub fn fragment(state: &State, id: &EndpointId) -> Option<Fragment> {
    let endpoint = state.endpoints.get(id)?;
    let lease = endpoint.lease.as_ref()?;
    let network = state.networks.get(&endpoint.network)?;
    let bridge = network.bridge()?;
    let sandbox = state.sandboxes.get(&endpoint.sandbox)?;
    if sandbox.up == Up::Down || sandbox.namespace == Namespace::Host {
        return None;
    }
    let inside = fragment::link(netns(sandbox), &lease.ifname)?;
    let mut fragment = Fragment::default();
    pair(&mut fragment, endpoint, &inside, bridge)?;
    let ipv6 = lease.ipv6.is_some() && has_ipv6(sandbox);
    if !ipv6 && bridge.mtu >= IPV6_MTU {
        fragment.sysctl(&inside.netns, format!("net/ipv6/conf/{}/disable_ipv6", lease.ifname), "1");
    }
    if network.is_routed() {
        routed(&mut fragment, lease, &inside, ipv6);
    }
    let mine = addresses(endpoint, lease).filter(|address| ipv6 || address.addr().is_ipv4());
    for address in mine.map(|address| if network.is_routed() { IpNet::from(address.addr()) } else { address }) {
        fragment.put(AddrKey { link: inside.clone(), address }, Addr {});
    }
    if bridge.announce == Announce::Silent {
        fragment.sysctl(&inside.netns, format!("net/ipv4/conf/{}/arp_notify", lease.ifname), "0");
        if bridge.mtu >= IPV6_MTU {
            fragment.sysctl(&inside.netns, format!("net/ipv6/conf/{}/ndisc_notify", lease.ifname), "0");
        }
    }
    for (name, value) in &endpoint.wish.sysctls {
        // The interface's name may have dots of its own.
        let path = name.replace('.', "/").replace("IFNAME", &lease.ifname);
        fragment.sysctl(&inside.netns, path, value.trim());
    }
    if bridge.icc == Icc::LinkedOnly {
        fragment.bridge_member(names::LINKED_ONLY, [ifname(&lease.host_ifname)]);
        links(&mut fragment, state, endpoint, lease);
    }
    Some(fragment)
}

fn pair(fragment: &mut Fragment, endpoint: &Endpoint, inside: &LinkKey, bridge: &Bridge) -> Option<()> {
    let lease = endpoint.lease.as_ref()?;
    let outside = fragment::host_link(&lease.host_ifname)?;
    let host_end = Link {
        kind: LinkKind::Veth { peer: inside.clone(), peer_mac: mac(lease.mac) },
        mac: mac(lease.host_mac),
        mtu: bridge.mtu,
        admin: Admin::Up,
        port: Some(BridgePort { bridge: fragment::host_link(&bridge.link)?.name, hairpin: Hairpin::On }),
        alias: fragment::alias(&Wish::Endpoint(endpoint.id.clone())),
    };
    let inner_end = Link {
        kind: LinkKind::VethPeer { of: outside.clone() },
        mac: mac(lease.mac),
        mtu: bridge.mtu,
        admin: Admin::Up,
        port: None,
        alias: None,
    };
    fragment.put(outside, host_end);
    fragment.put(inside.clone(), inner_end);
    Some(())
}

/// On a network whose sandboxes reach each other by way of the host nobody is a neighbour, also when the host tells of a shorter way
/// (RFC 1122, 3.2.2.2). Who asks a service and is led to itself is masked, or it would not take its own packet for another's.
fn routed(fragment: &mut Fragment, lease: &Lease, inside: &LinkKey, ipv6: bool) {
    fragment.sysctl(&inside.netns, format!("net/ipv4/conf/{}/accept_redirects", lease.ifname), "0");
    if ipv6 {
        fragment.sysctl(&inside.netns, format!("net/ipv6/conf/{}/accept_redirects", lease.ifname), "0");
    }
    for family in Family::BOTH {
        if let Some(own) = lease.address(family) {
            fragment.member(names::of(family).hairpin, [address(own.addr()).into(), address(own.addr()).into()]);
        }
    }
}

/// The leased addresses, and the link-local ones that were asked for, with their usual prefix lengths (RFC 3927, RFC 4291).
fn addresses<'e>(endpoint: &'e Endpoint, lease: &'e Lease) -> impl Iterator<Item = IpNet> + 'e {
    let link_local = endpoint.wish.link_local.iter();
    let link_local = link_local.filter_map(|ip| IpNet::new(*ip, if ip.is_ipv4() { 16 } else { 64 }).ok());
    Family::BOTH.into_iter().filter_map(|family| lease.address(family)).chain(link_local)
}

/// What may pass although the network forbids it. Each endpoint owns the pairs in which it is the source: those it is linked to, and
/// those linked to it.
fn links(fragment: &mut Fragment, state: &State, endpoint: &Endpoint, lease: &Lease) {
    for other in state.endpoints_on(&endpoint.network) {
        if !linked(state, endpoint, other) && !linked(state, other, endpoint) {
            continue;
        }
        let Some(other) = &other.lease else { continue };
        for family in Family::BOTH {
            if let (Some(from), Some(to)) = (lease.address(family), other.address(family)) {
                let pair = |ip: IpAddr, other: IpAddr| [address(ip).into(), address(other).into()];
                fragment.member(names::of(family).linked, pair(from.addr(), to.addr()));
                fragment.bridge_member(names::of(family).linked, pair(from.addr(), to.addr()));
            }
        }
    }
}

fn linked(state: &State, from: &Endpoint, to: &Endpoint) -> bool {
    from.wish.links.iter().filter_map(|link| state.linked(link)).any(|container| container.sandbox == to.sandbox)
}
