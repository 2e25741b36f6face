//! Networks: made, removed.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{address, draft::Draft, pool, sandbox};
use crate::{
    address::{Chosen, Family, Subnet},
    change::{Record, RecordKey},
    host::{Forward, Forwarding},
    id::NetworkId,
    network::{
        Bridge, BridgeAddress, BridgeWish, Driver, DriverWish, FamilyWish, GatewayMode, Network, NetworkWish, Origin,
        Reach, SubnetWish,
    },
    refusal::Refusal,
};

/// The names of networks that are always there, `default` being another name of the first.
const PREDEFINED: [&str; 4] = ["bridge", "host", "none", "default"];

/// The largest MTU that a bridge takes, bytes.
const MTU_MAX: u32 = 65_535;

/// Makes a network.
pub fn create(draft: &mut Draft, wish: NetworkWish) -> Result<(), Refusal> {
    let NetworkWish { id, name, origin, driver: DriverWish::Bridge(wish), labels, face } = wish;
    if PREDEFINED.contains(&name.as_str()) {
        return Err(Refusal::Forbidden(format!("operation is not permitted on predefined {name} network")));
    }
    if draft.state.network_names.contains_key(&name) || draft.state.networks.contains_key(&id) {
        return Err(Refusal::NetworkNameInUse { name });
    }
    let bridge = bridge(draft, &id, wish)?;
    forwarded(draft, &bridge);
    let driver = Driver::Bridge(bridge);
    let created_ms = draft.facts.now_ms;
    let network = Network { id: id.clone(), name, created_ms, driver, origin, labels, face };
    draft.put(Record::Network(Arc::new(network)));
    draft.tell_network(&id, "create", &[]);
    Ok(())
}

/// Removes a network. Endpoints of sandboxes that are down do not hold it; such a sandbox will not come up again.
pub fn remove(draft: &mut Draft, id: &NetworkId) -> Result<(), Refusal> {
    let network = draft.network(id)?;
    match network.origin {
        Origin::User => {}
        Origin::Predefined => {
            return Err(Refusal::Forbidden(format!("{} is a pre-defined network and cannot be removed", network.name)));
        }
        Origin::Cluster if draft.state.cluster.is_none() => {}
        Origin::Cluster => {
            return Err(Refusal::Forbidden(format!(
                "{} is the network of this Kubernetes node's pods and cannot be removed while Kubernetes is on",
                network.name
            )));
        }
    }
    let in_use = draft.state.endpoints_on(id).filter(|endpoint| endpoint.lease.is_some());
    let names = in_use.map(|endpoint| sandbox::endpoint_holder(&draft.state, endpoint));
    let endpoints = names.collect::<Vec<_>>().join(", ");
    if !endpoints.is_empty() {
        return Err(Refusal::NetworkInUse { network: format!("{} id {id}", network.name), endpoints });
    }
    draft.tell_network(id, "destroy", &[]);
    draft.delete(RecordKey::Network(id.clone()));
    Ok(())
}

/// Notes for which families the host forwards only since a network needs it; that stays so when the network goes.
pub fn forwarded(draft: &mut Draft, bridge: &Bridge) {
    let Some(before) = draft.state.settings.clone().filter(|settings| settings.forward == Forward::TurnOn) else {
        return;
    };
    let mut settings = (*before).clone();
    if bridge.ipv4.is_some() && draft.facts.forwarding_ipv4 == Forwarding::ByUs {
        settings.forwarding_ipv4 = Forwarding::ByUs;
    }
    if bridge.ipv6.is_some() && draft.facts.forwarding_ipv6 == Forwarding::ByUs {
        settings.forwarding_ipv6 = Forwarding::ByUs;
    }
    if settings != *before {
        draft.put(Record::Settings(Arc::new(settings)));
    }
}

fn bridge(draft: &Draft, id: &NetworkId, wish: BridgeWish) -> Result<Bridge, Refusal> {
    let subnets = [subnet(draft, id, &wish, Family::V4)?, subnet(draft, id, &wish, Family::V6)?];
    bridge_on(draft, id, wish, subnets)
}

/// What a bridge network comes to that has these subnets, IPv4 and IPv6.
pub fn bridge_on(
    draft: &Draft,
    id: &NetworkId,
    wish: BridgeWish,
    [ipv4, ipv6]: [Option<Subnet>; 2],
) -> Result<Bridge, Refusal> {
    for mode in [wish.gateway_ipv4, wish.gateway_ipv6] {
        if mode == GatewayMode::Isolated && wish.reach != Reach::Internal {
            return invalid("gateway mode 'isolated' can only be used for an internal network");
        }
    }
    if ipv4.is_none() && ipv6.is_none() {
        return invalid("IPv4 or IPv6 must be enabled");
    }
    let mtu = mtu(draft, wish.mtu);
    check_mtu(mtu, ipv6.is_some())?;
    let link = wish.link.unwrap_or_else(|| format!("br-{}", id.short()));
    check_link(draft, id, &link)?;
    let ifname_prefix = wish.ifname_prefix.unwrap_or_else(|| "eth".to_owned());
    if !is_ifname(&format!("{ifname_prefix}99999")) {
        return invalid(format!(
            "invalid interface name prefix {ifname_prefix:?}: use 1 to 10 bytes without '/', ':' or white space"
        ));
    }
    Ok(Bridge {
        link,
        ipv4,
        ipv6,
        mtu,
        reach: wish.reach,
        icc: wish.icc,
        gateway_ipv4: wish.gateway_ipv4,
        gateway_ipv6: wish.gateway_ipv6,
        masquerade_ipv4: wish.masquerade_ipv4,
        masquerade_ipv6: wish.masquerade_ipv6,
        host_binding: wish.host_binding,
        trusted_links: wish.trusted_links,
        names: wish.names,
        ifname_prefix,
        announce: wish.announce,
        others: wish.others,
        addresses: wish.addresses,
    })
}

/// The largest packet: as wished, as the settings say, or as the default route has it.
fn mtu(draft: &Draft, wish: Option<u32>) -> u32 {
    let settings = || draft.state.settings.as_ref().and_then(|settings| settings.mtu);
    let of_route = || draft.facts.default_mtu.map(|mtu| mtu.min(MTU_MAX));
    wish.or_else(settings).or_else(of_route).unwrap_or(1500)
}

/// Whether the kernel takes this as an interface name.
pub fn is_ifname(name: &str) -> bool {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

/// Least MTU of an IPv4 and of an IPv6 link (RFC 791, RFC 8200 section 5), and the most that a bridge takes.
fn check_mtu(mtu: u32, ipv6: bool) -> Result<(), Refusal> {
    let least = if ipv6 { 1280 } else { 68 };
    match (least..=MTU_MAX).contains(&mtu) {
        true => Ok(()),
        false => invalid(format!("invalid MTU {mtu}: use {least} to {MTU_MAX} bytes")),
    }
}

fn check_link(draft: &Draft, id: &NetworkId, link: &str) -> Result<(), Refusal> {
    if !is_ifname(link) {
        return invalid(format!("invalid bridge name {link:?}: use 1 to 15 bytes without '/', ':' or white space"));
    }
    let has = |network: &&Arc<Network>| network.id != *id && network.bridge().is_some_and(|bridge| bridge.link == link);
    match draft.state.networks.values().find(has) {
        Some(other) => Err(Refusal::Conflict(format!(
            "conflicts with network {} ({}): networks have same bridge name {link}",
            other.id, other.name
        ))),
        None => Ok(()),
    }
}

/// The subnet that a wish comes to, if it wants the family at all.
pub fn subnet(draft: &Draft, id: &NetworkId, wish: &BridgeWish, family: Family) -> Result<Option<Subnet>, Refusal> {
    let (asked, chosen) = match wish.family(family) {
        FamilyWish::Off => return Ok(None),
        FamilyWish::Pool => (SubnetWish::of(pool::choose(draft, family)?), Chosen::FromPool),
        FamilyWish::Subnet(asked) => {
            check_subnet(family, asked)?;
            pool::refuse_taken(draft, asked.net, Some(id))?;
            (asked.clone(), Chosen::ByUser)
        }
    };
    let address = match (wish.gateway_mode(family), wish.bridge_address, family) {
        (GatewayMode::Isolated, _, _) | (_, BridgeAddress::Inhibited, Family::V4) => BridgeAddress::Inhibited,
        _ => BridgeAddress::Set,
    };
    Ok(Some(with_gateway(asked, address, chosen)?))
}

fn with_gateway(wish: SubnetWish, address: BridgeAddress, chosen: Chosen) -> Result<Subnet, Refusal> {
    let SubnetWish { net, range, gateway, mut reserved, next_hop } = wish;
    let gateway = match (address, gateway) {
        (BridgeAddress::Set, Some(gateway)) => Some(gateway),
        (BridgeAddress::Set, None) => {
            let used = reserved.values().chain(&next_hop).copied().map(address::number).collect();
            Some(first_address(net, range, used)?)
        }
        // The bridge does not have it, so somebody else does.
        (BridgeAddress::Inhibited, Some(gateway)) => {
            reserved.insert("gateway".to_owned(), gateway);
            None
        }
        (BridgeAddress::Inhibited, None) => None,
    };
    Ok(Subnet { net, range, gateway, reserved, next_hop, chosen })
}

/// A bridge's address when none is asked for: the first of the range.
fn first_address(net: IpNet, range: Option<IpNet>, used: Vec<u128>) -> Result<IpAddr, Refusal> {
    address::lowest_free(net, range, used)
        .ok_or_else(|| Refusal::Invalid(format!("invalid subnet {net}: it has no address left for the gateway")))
}

/// Refuses a subnet that contradicts itself.
fn check_subnet(family: Family, wish: &SubnetWish) -> Result<(), Refusal> {
    let net = wish.net;
    let is_of = |address: IpAddr| Family::of(address) == family;
    if !is_of(net.addr()) {
        return invalid(format!("invalid subnet {net}: it is not an IPv{} subnet", family.number()));
    }
    if net.addr() != net.network() {
        return invalid(format!("invalid network config: invalid subnet {net}: it should be {}", net.trunc()));
    }
    if net.prefix_len() == net.max_prefix_len() {
        return invalid(format!(
            "failed to allocate gateway (): No available addresses on this pool: {net} is one address, and a network needs one for \
             its gateway and others for containers"
        ));
    }
    if let Some(range) = wish.range {
        if range.addr() != range.network() {
            return invalid(format!(
                "invalid network config: invalid ip-range {range}: it should be {}",
                range.trunc()
            ));
        }
        if !net.contains(&range) {
            return invalid(format!(
                "invalid network config: invalid ip-range {range}: parent subnet {net} doesn't contain ip-range"
            ));
        }
    }
    let gateway = wish.gateway.iter().map(|address| ("gateway", address));
    let reserved = wish.reserved.values().map(|address| ("auxiliary address", address));
    let next_hop = wish.next_hop.iter().map(|address| ("default gateway", address));
    for (what, address) in gateway.chain(reserved).chain(next_hop) {
        if !net.contains(address) {
            return invalid(format!(
                "invalid network config: invalid {what} {address}: parent subnet {net} doesn't contain this address"
            ));
        }
    }
    match wish.reserved.iter().find(|(_, address)| wish.gateway == Some(**address)) {
        Some((name, address)) => invalid(format!(
            "invalid network config: invalid gateway {address}: it is also the auxiliary address {name}"
        )),
        None => Ok(()),
    }
}

fn invalid<T>(words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(words.into()))
}
