//! A network: its bridge with the gateway addresses, and its elements in the sets.

use ipnet::IpNet;
use model::{
    NetworkId, State,
    address::{Family, Subnet},
    network::{Bridge, GatewayMode, Icc, Masquerade, Others, Reach},
};
use netstate::{
    addr::{Addr, AddrKey},
    link::{Admin, Link, LinkKey, LinkKind, MacAddr},
    netns::NetnsName,
};

use crate::{
    Wish,
    fragment::{self, Fragment, ifname},
    names::{self, BRIDGES, INTERNAL, SAME, TRUSTED},
};

/// A link that carries less has no IPv6 (RFC 8200, 5), nor settings for it.
pub(crate) const IPV6_MTU: u32 = 1280;

/// What a network comes to.
pub fn fragment(state: &State, id: &NetworkId) -> Option<Fragment> {
    let network = state.networks.get(id)?;
    let bridge = network.bridge()?;
    let key = fragment::host_link(&bridge.link)?;
    let mut fragment = Fragment::default();
    link(&mut fragment, id, &key, bridge);
    membership(&mut fragment, bridge);
    others(&mut fragment, state, id, bridge);
    for family in Family::BOTH {
        if let Some(subnet) = bridge.subnet(family) {
            addresses(&mut fragment, &key, subnet);
            if !network.is_routed() {
                fragment.member(names::of(family).hairpin, [fragment::net(subnet.net), fragment::net(subnet.net)]);
            }
            outside(&mut fragment, bridge, family, subnet.net);
        }
    }
    for address in &bridge.addresses {
        fragment.put(AddrKey { link: key.clone(), address: IpNet::from(*address) }, Addr {});
    }
    Some(fragment)
}

fn link(fragment: &mut Fragment, id: &NetworkId, key: &LinkKey, bridge: &Bridge) {
    let [a, b, c, d, e, ..] = id.bytes();
    let link = Link {
        kind: LinkKind::Bridge,
        mac: MacAddr([0x06, a, b, c, d, e]),
        mtu: bridge.mtu,
        admin: Admin::Up,
        port: None,
        alias: fragment::alias(&Wish::Network(id.clone())),
    };
    fragment.put(key.clone(), link);
    let name = &bridge.link;
    if bridge.ipv4.is_some() && bridge.reach == Reach::Outside {
        // Lets the host's 127.0.0.1 reach published ports; everybody else is kept from it by `raw_prerouting`.
        fragment.sysctl(&NetnsName::Host, format!("net/ipv4/conf/{name}/route_localnet"), "1");
    }
    if bridge.mtu >= IPV6_MTU {
        let disable_ipv6 = if bridge.ipv6.is_some() { "0" } else { "1" };
        fragment.sysctl(&NetnsName::Host, format!("net/ipv6/conf/{name}/disable_ipv6"), disable_ipv6);
    }
    if bridge.ipv6.is_some() {
        // The host does not let a sandbox be its router.
        fragment.sysctl(&NetnsName::Host, format!("net/ipv6/conf/{name}/accept_ra"), "0");
    }
}

fn membership(fragment: &mut Fragment, bridge: &Bridge) {
    let name = || ifname(&bridge.link);
    fragment.member(BRIDGES, [name()]);
    if bridge.icc == Icc::Allowed {
        fragment.member(SAME, [name(), name()]);
    }
    match bridge.reach {
        Reach::Internal => fragment.member(INTERNAL, [name()]),
        Reach::Outside => {
            bridge.trusted_links.iter().for_each(|trusted| fragment.member(TRUSTED, [ifname(trusted), name()]));
        }
    }
}

/// Whom a network reaches, and who reaches it, at their own addresses. Of two that both ask for it each says where its own packets go.
fn others(fragment: &mut Fragment, state: &State, id: &NetworkId, bridge: &Bridge) {
    if bridge.others == Others::Apart {
        return;
    }
    let networks = state.networks.values().filter(|network| network.id != *id);
    for other in networks.filter_map(|network| network.bridge()).filter(|other| other.reach == Reach::Outside) {
        fragment.member(TRUSTED, [ifname(&bridge.link), ifname(&other.link)]);
        if other.others == Others::Apart {
            fragment.member(TRUSTED, [ifname(&other.link), ifname(&bridge.link)]);
        }
    }
}

fn addresses(fragment: &mut Fragment, link: &LinkKey, subnet: &Subnet) {
    let address = subnet.gateway.and_then(|gateway| IpNet::new(gateway, subnet.net.prefix_len()).ok());
    if let Some(address) = address {
        fragment.put(AddrKey { link: link.clone(), address }, Addr {});
    }
}

/// How one family of a network meets the outside.
fn outside(fragment: &mut Fragment, bridge: &Bridge, family: Family, net: IpNet) {
    if bridge.reach == Reach::Internal {
        return;
    }
    let names = names::of(family);
    let span = || fragment::net(net);
    match bridge.gateway_mode(family) {
        GatewayMode::Nat | GatewayMode::Isolated => {}
        GatewayMode::NatUnprotected => fragment.member(names.unprotected, [span()]),
        GatewayMode::Routed => return fragment.member(names.routed, [span()]),
    }
    let masquerade = match family {
        Family::V4 => widen(bridge.masquerade_ipv4),
        Family::V6 => widen(bridge.masquerade_ipv6),
    };
    match masquerade {
        Masquerade::Outgoing => fragment.member(names.masquerade, [span()]),
        Masquerade::As(address) => fragment.mapping(names.snat, [span()], [fragment::address(address)]),
        Masquerade::Off => {}
    }
}

fn widen(masquerade: Masquerade<impl Into<std::net::IpAddr>>) -> Masquerade<std::net::IpAddr> {
    match masquerade {
        Masquerade::Outgoing => Masquerade::Outgoing,
        Masquerade::As(address) => Masquerade::As(address.into()),
        Masquerade::Off => Masquerade::Off,
    }
}
