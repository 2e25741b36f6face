//! The daemon starts: settings, the networks that are always there, and the containers whose policy starts them now.

use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;

use super::{address, container::restart, draft::Draft, network, pool};
use crate::{
    address::{Chosen, Family, Subnet},
    change::Record,
    host::Settings,
    id::NetworkId,
    network::{Announce, Bridge, Driver, GatewayMode, Icc, Masquerade, Names, Network, Origin, Reach},
    refusal::Refusal,
};

/// The daemon starts with these settings.
pub fn open(draft: &mut Draft, mut settings: Settings) -> Result<(), Refusal> {
    let before = draft.state.settings.as_ref().map(|before| (before.forwarding_ipv4, before.forwarding_ipv6));
    let now = (draft.facts.forwarding_ipv4, draft.facts.forwarding_ipv6);
    (settings.forwarding_ipv4, settings.forwarding_ipv6) = before.unwrap_or(now);
    let settings = Arc::new(settings);
    draft.put(Record::Settings(Arc::clone(&settings)));
    let bridge = default_bridge(draft, &settings)?;
    keep(draft, "bridge", Driver::Bridge(bridge));
    keep(draft, "host", Driver::Host);
    keep(draft, "none", Driver::Null);
    restart::boot(draft);
    Ok(())
}

/// Makes a predefined network, or refreshes the one that is there.
fn keep(draft: &mut Draft, name: &'static str, driver: Driver) {
    let old = draft.state.network_names.get(name).and_then(|id| draft.state.networks.get(id)).cloned();
    let network = match old {
        Some(old) => Network { driver, ..(*old).clone() },
        None => Network {
            id: predefined_id(draft, name),
            name: name.to_owned(),
            created_ms: draft.facts.now_ms,
            driver,
            origin: Origin::Predefined,
            labels: BTreeMap::new(),
            face: serde_json::Value::Null,
        },
    };
    draft.put(Record::Network(Arc::new(network)));
}

fn predefined_id(draft: &Draft, name: &str) -> NetworkId {
    let purpose = name.bytes().fold(0, |sum, byte| sum << 4 ^ u64::from(byte));
    let mut bytes = [0; 32];
    for (time, eight) in bytes.chunks_exact_mut(8).enumerate() {
        eight.copy_from_slice(&draft.draw(purpose, time as u64).to_be_bytes());
    }
    NetworkId::from_bytes(bytes)
}

/// The default network's bridge. Its subnets stay as they are while somebody has an address of theirs.
fn default_bridge(draft: &Draft, settings: &Settings) -> Result<Bridge, Refusal> {
    let old = draft.state.network_names.get("bridge").and_then(|id| draft.state.networks.get(id));
    let in_use =
        old.is_some_and(|network| draft.state.endpoints_on(&network.id).any(|endpoint| endpoint.lease.is_some()));
    let (ipv4, ipv6, link) = match old.and_then(|network| network.bridge()) {
        Some(bridge) if in_use => (bridge.ipv4.clone(), bridge.ipv6.clone(), bridge.link.clone()),
        old_bridge => {
            let but = old.map(|network| &network.id);
            let kept =
                old_bridge.and_then(|bridge| bridge.ipv4.clone()).filter(|subnet| subnet.chosen == Chosen::FromPool);
            let ipv4 = match (&settings.default_ipv4, kept) {
                (Some(wish), _) => configured(draft, wish, but)?,
                (None, Some(kept)) => kept,
                (None, None) => from_pool(pool::choose(draft, Family::V4)?)?,
            };
            let ipv6 = settings.default_ipv6.as_ref().map(|wish| configured(draft, wish, but)).transpose()?;
            (Some(ipv4), ipv6, settings.default_bridge.clone())
        }
    };
    if !network::is_ifname(&link) {
        return Err(Refusal::Invalid(format!(
            "invalid bridge name {link:?}: use 1 to 15 bytes without '/', ':' or white space"
        )));
    }
    let mtu = network::mtu(draft, None);
    network::check_mtu(mtu, ipv6.is_some())?;
    Ok(Bridge {
        link,
        ipv4,
        ipv6,
        mtu,
        reach: Reach::Outside,
        icc: Icc::Allowed,
        gateway_ipv4: GatewayMode::Nat,
        gateway_ipv6: GatewayMode::Nat,
        masquerade_ipv4: Masquerade::Outgoing,
        masquerade_ipv6: Masquerade::Outgoing,
        host_binding: None,
        trusted_links: Vec::new(),
        names: Names::HostsFile,
        ifname_prefix: "eth".to_owned(),
        announce: Announce::Told,
    })
}

fn configured(draft: &Draft, wish: &Subnet, but: Option<&NetworkId>) -> Result<Subnet, Refusal> {
    pool::refuse_taken(draft, wish.net, but)?;
    let gateway = match wish.gateway {
        Some(gateway) => gateway,
        None => network::first_address(
            wish.net,
            wish.range,
            wish.reserved.values().copied().map(address::number).collect(),
        )?,
    };
    Ok(Subnet { gateway: Some(gateway), ..wish.clone() })
}

fn from_pool(net: IpNet) -> Result<Subnet, Refusal> {
    let gateway = Some(network::first_address(net, None, Vec::new())?);
    Ok(Subnet { net, range: None, gateway, reserved: BTreeMap::new(), chosen: Chosen::FromPool })
}
