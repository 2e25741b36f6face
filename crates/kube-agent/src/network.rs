//! The network of the node's pods: a bridge that the other networks of the host reach, and on which the host owns the address of the
//! cluster's DNS.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use engine::{Engine, EngineError};
use model::{
    Command, Document, NetworkId, Refusal,
    address::Family,
    network::{BridgeWish, DriverWish, FamilyWish, Names, NetworkWish, Origin, Others, SubnetWish},
    service::{Cluster, ClusterDns},
};
use tracing::warn;

use crate::{identity, node::NodeSettings};

/// Its name, and that of its bridge.
pub const NAME: &str = "kube-pods";

/// Makes the network, unless an earlier agent has. One with other addresses goes first, unless there are pods on it.
pub async fn ensure(engine: &Engine, node: &NodeSettings) -> Result<NetworkId, EngineError> {
    let id = identity::network(NAME);
    if is_there(engine, &id) && !has_addresses(engine, &id, node) {
        if engine.state().endpoints_on(&id).any(|endpoint| endpoint.lease.is_some()) {
            warn!(
                network = NAME,
                "pods keep the addresses that they were given before: delete all pods, and start again"
            );
            return Ok(id);
        }
        engine.submit(Command::LeaveCluster).await?;
    }
    if is_there(engine, &id) {
        return Ok(id);
    }
    let subnet = |family| match cidr(node, family) {
        Some(cidr) => FamilyWish::Subnet(SubnetWish::of(cidr)),
        None => FamilyWish::Off,
    };
    let bridge = BridgeWish {
        link: Some(NAME.to_owned()),
        ipv4: subnet(Family::V4),
        ipv6: subnet(Family::V6),
        names: Names::HostsFile,
        others: Others::Reached,
        addresses: own_addresses(node).collect(),
        ..BridgeWish::default()
    };
    let wish = NetworkWish {
        id: id.clone(),
        name: NAME.to_owned(),
        origin: Origin::Cluster,
        driver: DriverWish::Bridge(bridge),
        labels: BTreeMap::new(),
        face: Document::default(),
    };
    match engine.submit(Command::CreateNetwork(Box::new(wish))).await {
        Ok(_) | Err(EngineError::Refused(Refusal::NetworkNameInUse { .. })) => Ok(id),
        Err(error) => Err(error),
    }
}

fn cidr(node: &NodeSettings, family: Family) -> Option<ipnet::IpNet> {
    node.pod_cidrs.iter().find(|cidr| Family::of(cidr.addr()) == family).copied()
}

fn is_there(engine: &Engine, id: &NetworkId) -> bool {
    engine.state().networks.contains_key(id)
}

fn has_addresses(engine: &Engine, id: &NetworkId, node: &NodeSettings) -> bool {
    let state = engine.state();
    let bridge = state.networks.get(id).and_then(|network| network.bridge());
    let own: Vec<_> = own_addresses(node).collect();
    bridge.is_some_and(|bridge| {
        let subnet = |family| bridge.subnet(family).map(|subnet| subnet.net);
        Family::BOTH.into_iter().all(|family| subnet(family) == cidr(node, family)) && bridge.addresses == own
    })
}

/// What the host has on the network besides the bridge's own addresses.
fn own_addresses(node: &NodeSettings) -> impl Iterator<Item = IpAddr> {
    node.api.into_iter().chain([node.names.server]).map(IpAddr::V4)
}

/// Tells the engine which cluster the host is a node of. Node ports are at the host's loopback address too, for itself.
pub async fn join(engine: &Engine, node: &NodeSettings, network: &NetworkId) -> Result<(), EngineError> {
    let cluster = Cluster {
        pod_ranges: node.pod_ranges.clone(),
        service_ranges: node.service_ranges.clone(),
        node_addresses: node.addresses.iter().copied().chain([Ipv4Addr::LOCALHOST.into()]).collect(),
        balancer_ranges: node.balancer_ranges.clone(),
        pod_network: Some(network.clone()),
        dns: Some(ClusterDns { addresses: vec![IpAddr::V4(node.names.server)], domain: node.names.domain.clone() }),
    };
    engine.submit(Command::SetCluster(Box::new(cluster))).await.map(drop)
}
