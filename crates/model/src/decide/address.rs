//! Addresses of endpoints: the one that is asked for, or the lowest free one.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net};

use super::sandbox;
use crate::{
    address::{Chosen, Family, Mac, Subnet},
    endpoint::{Endpoint, EndpointWish},
    id::EndpointId,
    network::{Network, Origin},
    refusal::Refusal,
    state::State,
};

/// An address as a number.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A number as an address of a family.
pub fn to_address(family: Family, number: u128) -> IpAddr {
    match family {
        // Numbers of IPv4 addresses never have more than 32 bits.
        Family::V4 => Ipv4Addr::from_bits(number as u32).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

/// The lowest usable address of a subnet (or of its range) that is not among those given.
pub fn lowest_free(net: IpNet, range: Option<IpNet>, mut used: Vec<u128>) -> Option<IpAddr> {
    let (first, last) = usable(net);
    let (from, until) =
        range.map_or((first, last), |range| (number(range.network()).max(first), number(range.broadcast()).min(last)));
    used.sort_unstable();
    let mut at = from;
    for taken in used.into_iter().filter(|taken| *taken >= from) {
        if taken > at {
            break;
        }
        if taken == at {
            at = at.checked_add(1)?;
        }
    }
    (at <= until).then(|| to_address(Family::of(net.addr()), at))
}

/// The first and the last address that an interface may have: not the one that names the network (in IPv6 it is every router's,
/// RFC 4291, 2.6.1), not IPv4's broadcast; where there is no room for these, all (RFC 3021).
fn usable(net: IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    let room = net.prefix_len() + 1 < net.max_prefix_len();
    match (room, net) {
        (false, _) => (first, last),
        (true, IpNet::V4(_)) => (first + 1, last - 1),
        (true, IpNet::V6(_)) => (first + 1, last),
    }
}

/// Refuses static addresses that the network cannot give to anybody.
pub fn check_static(network: &Network, wish: &EndpointWish) -> Result<(), Refusal> {
    for address in [wish.ipv4.map(IpAddr::V4), wish.ipv6.map(IpAddr::V6)].into_iter().flatten() {
        if network.origin == Origin::Predefined {
            return invalid("user specified IP address is supported on user defined networks only".to_owned());
        }
        let subnet = network.bridge().and_then(|bridge| bridge.subnet(Family::of(address)));
        let Some(subnet) = subnet.filter(|subnet| subnet.chosen == Chosen::ByUser) else {
            return invalid(
                "user specified IP address is supported only when connecting to networks with user configured subnets"
                    .to_owned(),
            );
        };
        let (first, last) = usable(subnet.net);
        if !subnet.net.contains(&address) || !(first..=last).contains(&number(address)) {
            return invalid(format!(
                "invalid address {address}: it does not belong to any of this network's subnets: network {} has {}",
                network.name, subnet.net
            ));
        }
        if let Some(holder) = fixed_holder(subnet, address) {
            return Err(Refusal::AddressInUse { address, network: network.name.clone(), holder });
        }
    }
    Ok(())
}

/// The address a lease gets in one family; none when the network has not got the family.
pub fn choose(state: &State, network: &Network, endpoint: &Endpoint, family: Family) -> Result<Option<IpNet>, Refusal> {
    let Some(subnet) = network.bridge().and_then(|bridge| bridge.subnet(family)) else { return Ok(None) };
    let address = match wished(&endpoint.wish, family) {
        Some(address) => {
            refuse_used(state, network, endpoint, address)?;
            address
        }
        None => free(state, network, subnet, &endpoint.id)?,
    };
    Ok(IpNet::new(address, subnet.net.prefix_len()).ok())
}

fn wished(wish: &EndpointWish, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => wish.ipv4.map(IpAddr::V4),
        Family::V6 => wish.ipv6.map(IpAddr::V6),
    }
}

fn free(state: &State, network: &Network, subnet: &Subnet, own: &EndpointId) -> Result<IpAddr, Refusal> {
    let family = Family::of(subnet.net.addr());
    let leased = |endpoint: &Endpoint| endpoint.lease.as_ref()?.address(family).map(|net| number(net.addr()));
    let fixed = || subnet.taken().map(number);
    let used: Vec<u128> = fixed().chain(state.endpoints_on(&network.id).filter_map(|e| leased(e))).collect();
    // Static addresses of sandboxes that are down are given to others only when nothing else is left.
    let others = state.endpoints_on(&network.id).filter(|e| e.id != *own);
    let kept = others.filter_map(|e| wished(&e.wish, family)).map(number);
    let chosen = lowest_free(subnet.net, subnet.range, used.iter().copied().chain(kept).collect());
    chosen.or_else(|| lowest_free(subnet.net, subnet.range, used)).ok_or_else(|| Refusal::AddressesExhausted {
        network: network.name.clone(),
        net: subnet.range.unwrap_or(subnet.net),
        family: family.number(),
    })
}

fn refuse_used(state: &State, network: &Network, endpoint: &Endpoint, address: IpAddr) -> Result<(), Refusal> {
    let has =
        |lease: &crate::endpoint::Lease| lease.address(Family::of(address)).is_some_and(|net| net.addr() == address);
    let holder = state.endpoints_on(&network.id).find(|e| e.id != endpoint.id && e.lease.as_ref().is_some_and(has));
    match holder {
        Some(other) => Err(Refusal::AddressInUse {
            address,
            network: network.name.clone(),
            holder: sandbox::holder(state, &other.sandbox),
        }),
        None => Ok(()),
    }
}

fn fixed_holder(subnet: &Subnet, address: IpAddr) -> Option<String> {
    if subnet.gateway == Some(address) {
        return Some("the gateway".to_owned());
    }
    if subnet.next_hop == Some(address) {
        return Some("the default gateway".to_owned());
    }
    subnet.reserved.iter().find(|(_, held)| **held == address).map(|(name, _)| format!("the auxiliary address {name}"))
}

/// Refuses Ethernet addresses that no interface can have.
pub fn check_mac(wish: &EndpointWish) -> Result<(), Refusal> {
    match wish.mac {
        Some(mac) if mac.0[0] & 1 == 1 => {
            invalid(format!("invalid MAC address {mac}: it is a group address (the first byte is odd)"))
        }
        Some(Mac([0, 0, 0, 0, 0, 0])) => invalid("invalid MAC address 00:00:00:00:00:00".to_owned()),
        _ => Ok(()),
    }
}

/// The Ethernet addresses of both ends of an endpoint's link: inside and on the host, alone on their network. The prefixes keep the kinds
/// apart: 02:42 inside, 0a on the host, 06 for bridges; all are locally administered.
pub fn choose_macs(
    state: &State,
    network: &Network,
    endpoint: &Endpoint,
    ipv4: Option<Ipv4Net>,
) -> Result<(Mac, Mac), Refusal> {
    let others = || state.endpoints_on(&network.id).filter(|e| e.id != endpoint.id);
    let macs = others().filter_map(|e| e.lease.as_ref()).flat_map(|lease| [lease.mac, lease.host_mac]);
    let used: BTreeSet<Mac> = macs.collect();
    let id = endpoint.id.bytes();
    let own = match endpoint.wish.mac {
        Some(mac) if used.contains(&mac) => {
            let holder = others().find(|e| e.lease.as_ref().is_some_and(|lease| lease.mac == mac));
            let holder = holder.map_or_else(|| "a link of the host".to_owned(), |e| sandbox::holder(state, &e.sandbox));
            return Err(Refusal::Conflict(format!(
                "MAC address {mac} on network {} is already in use by {holder}",
                network.name
            )));
        }
        Some(mac) => mac,
        None => {
            let [a, b, c, d] = ipv4.map_or([id[5], id[6], id[7], id[8]], |net| net.addr().octets());
            unused(Mac([0x02, 0x42, a, b, c, d]), &used)
        }
    };
    Ok((own, unused(Mac([0x0a, id[0], id[1], id[2], id[3], id[4]]), &used)))
}

fn unused(mut mac: Mac, used: &BTreeSet<Mac>) -> Mac {
    while used.contains(&mac) {
        let [_, _, tail @ ..] = &mut mac.0;
        *tail = u32::from_be_bytes(*tail).wrapping_add(1).to_be_bytes();
    }
    mac
}

fn invalid<T>(words: String) -> Result<T, Refusal> {
    Err(Refusal::Invalid(words))
}
