//! Subnets for networks: those that users ask for, and those that are cut from pools.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv6Net};

use super::{
    address::{number, to_address},
    draft::Draft,
};
use crate::{
    address::{Family, Pool},
    id::NetworkId,
    refusal::Refusal,
};

/// A subnet that overlaps no network and no route of the host: the first free one of the settings' pools; for IPv6 without pools a
/// ULA /64 (RFC 4193, 3.2.2: a pseudo-random global id).
pub fn choose(draft: &Draft, family: Family) -> Result<IpNet, Refusal> {
    let taken = taken(draft, family);
    let pools = draft.state.settings.as_ref().map(|s| s.pools.as_slice()).unwrap_or_default();
    let from_pool =
        pools.iter().filter(|pool| Family::of(pool.base.addr()) == family).find_map(|pool| free(pool, &taken));
    match (from_pool, family) {
        (Some(net), _) => Ok(net),
        (None, Family::V6) => unique_local(draft, &taken).ok_or(Refusal::PoolsExhausted),
        (None, Family::V4) => Err(Refusal::PoolsExhausted),
    }
}

/// Refuses a subnet that a user asks for when another network has some of it, or when a route of the host is within it. A broader route
/// is no obstacle: the longer prefix wins, as asked.
pub fn refuse_taken(draft: &Draft, net: IpNet, but: Option<&NetworkId>) -> Result<(), Refusal> {
    for network in draft.state.networks.values().filter(|network| Some(&network.id) != but) {
        let subnets = network.bridge().into_iter().flat_map(|bridge| [&bridge.ipv4, &bridge.ipv6]).flatten();
        if let Some(other) = subnets.map(|subnet| subnet.net).find(|other| overlap(net, *other)) {
            let holder = format!("network {} ({})", network.name, network.id.short());
            return Err(Refusal::SubnetInUse { net, other, holder });
        }
    }
    match draft.facts.routes.iter().find(|route| net.contains(&route.net)) {
        Some(route) => Err(Refusal::SubnetInUse {
            net,
            other: route.net,
            holder: format!("the route of the host by {}", route.link),
        }),
        None => Ok(()),
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// First and last address of a range.
type Span = (u128, u128);

/// What is taken of a family: disjoint ranges in ascending order. Routes to half of everything are a default route in disguise.
fn taken(draft: &Draft, family: Family) -> Vec<Span> {
    let bridges = draft.state.networks.values().filter_map(|network| network.bridge());
    let subnets = bridges.filter_map(|bridge| bridge.subnet(family)).map(|subnet| subnet.net);
    let routes = draft.facts.routes.iter().map(|route| route.net).filter(|net| net.prefix_len() > 1);
    let mut spans: Vec<Span> = subnets.chain(routes).filter(|net| Family::of(net.addr()) == family).map(span).collect();
    spans.sort_unstable();
    spans.dedup_by(|next, kept| {
        let joins = next.0 <= kept.1;
        kept.1 = if joins { kept.1.max(next.1) } else { kept.1 };
        joins
    });
    spans
}

fn span(net: IpNet) -> Span {
    (number(net.network()), number(net.broadcast()))
}

/// The first subnet of the pool that overlaps nothing.
fn free(pool: &Pool, taken: &[Span]) -> Option<IpNet> {
    let (first, last) = span(pool.base);
    let family = Family::of(pool.base.addr());
    let length = pool.base.max_prefix_len();
    if pool.size < pool.base.prefix_len() || pool.size > length || (length == 128 && pool.size == 0) {
        return None;
    }
    let block = 1u128 << (length - pool.size);
    let mut at = first;
    for (from, until) in taken {
        if *until < at {
            continue;
        }
        if *from > at.checked_add(block - 1)? {
            break;
        }
        at = until.checked_add(1)?.checked_next_multiple_of(block)?;
    }
    if at.checked_add(block - 1)? > last {
        return None;
    }
    IpNet::new(to_address(family, at), pool.size).ok()
}

fn unique_local(draft: &Draft, taken: &[Span]) -> Option<IpNet> {
    (0..64).find_map(|time| {
        let global = draft.draw(PURPOSE, time) & 0xff_ffff_ffff;
        let bits = 0xfd << 120 | u128::from(global) << 80;
        let net = IpNet::V6(Ipv6Net::new(Ipv6Addr::from_bits(bits), 64).ok()?);
        let (first, last) = span(net);
        taken.iter().all(|(from, until)| last < *from || *until < first).then_some(net)
    })
}

const PURPOSE: u64 = 1;
