//! The daemon starts: settings, the networks that are always there, and the containers whose policy starts them now.

use std::{collections::BTreeMap, sync::Arc};

use super::{container::restart, draft::Draft, network};
use crate::{
    address::{Chosen, Family, Subnet},
    change::Record,
    document::Document,
    host::Settings,
    id::NetworkId,
    network::{Bridge, BridgeWish, DEFAULT, Driver, FamilyWish, Network, Origin},
    refusal::Refusal,
};

/// The daemon starts with these settings.
pub fn open(draft: &mut Draft, mut settings: Settings) -> Result<(), Refusal> {
    if let Some(before) = &draft.state.settings {
        (settings.forwarding_ipv4, settings.forwarding_ipv6) = (before.forwarding_ipv4, before.forwarding_ipv6);
    }
    let settings = Arc::new(settings);
    draft.put(Record::Settings(Arc::clone(&settings)));
    let id = predefined_id(draft, DEFAULT);
    let bridge = default_bridge(draft, &id, &settings.default_network)?;
    network::forwarded(draft, &bridge);
    keep(draft, id, DEFAULT, Driver::Bridge(bridge));
    keep(draft, predefined_id(draft, "host"), "host", Driver::Host);
    keep(draft, predefined_id(draft, "none"), "none", Driver::Null);
    restart::boot(draft);
    Ok(())
}

/// Makes a predefined network, or refreshes the one that is there.
fn keep(draft: &mut Draft, id: NetworkId, name: &'static str, driver: Driver) {
    let network = match draft.state.networks.get(&id).cloned() {
        Some(old) => Network { driver, ..(*old).clone() },
        None => Network {
            id,
            name: name.to_owned(),
            created_ms: draft.facts.now_ms,
            driver,
            origin: Origin::Predefined,
            labels: BTreeMap::new(),
            face: Document::default(),
        },
    };
    draft.put(Record::Network(Arc::new(network)));
}

/// The identity that a predefined network has, or will have.
fn predefined_id(draft: &Draft, name: &str) -> NetworkId {
    if let Some(id) = draft.state.network_names.get(name) {
        return id.clone();
    }
    let purpose = name.bytes().fold(0, |sum, byte| sum << 4 ^ u64::from(byte));
    let mut bytes = [0; 32];
    for (time, eight) in bytes.chunks_exact_mut(8).enumerate() {
        eight.copy_from_slice(&draft.draw(purpose, time as u64).to_be_bytes());
    }
    NetworkId::from_bytes(bytes)
}

/// The default network's bridge. It stays where it is while somebody has an address of it.
fn default_bridge(draft: &Draft, id: &NetworkId, wish: &BridgeWish) -> Result<Bridge, Refusal> {
    let old = draft.state.networks.get(id).and_then(|network| network.bridge());
    let in_use = old.filter(|_| draft.state.endpoints_on(id).any(|endpoint| endpoint.lease.is_some()));
    let link = in_use.map(|bridge| bridge.link.clone()).or_else(|| wish.link.clone());
    let wish = BridgeWish { link, ..wish.clone() };
    let subnet = |family| match (in_use, old.and_then(|bridge| bridge.subnet(family))) {
        (Some(_), subnet) => Ok(subnet.cloned()),
        (None, Some(subnet)) if from_pool(&wish, family, subnet) => Ok(Some(subnet.clone())),
        (None, _) => network::subnet(draft, id, &wish, family),
    };
    let subnets = [subnet(Family::V4)?, subnet(Family::V6)?];
    network::bridge_on(draft, id, wish, subnets)
}

/// Whether a subnet came from the pools, as is still wished.
fn from_pool(wish: &BridgeWish, family: Family, subnet: &Subnet) -> bool {
    *wish.family(family) == FamilyWish::Pool && subnet.chosen == Chosen::FromPool
}
