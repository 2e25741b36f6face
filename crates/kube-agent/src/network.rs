//! The network of the node's pods: a bridge that the other networks of the host reach, and on which the host owns the address of the
//! cluster's DNS.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use engine::{Engine, EngineError};
use model::{
    Command, Document, NetworkId, Refusal,
    network::{BridgeWish, DriverWish, FamilyWish, Names, NetworkWish, Origin, Others, SubnetWish},
    service::{Cluster, ClusterDns},
};

use crate::{identity, node::NodeSettings};

/// Its name, and that of its bridge.
pub const NAME: &str = "kube-pods";

/// Makes the network, unless an earlier agent has.
pub async fn ensure(engine: &Engine, node: &NodeSettings) -> Result<NetworkId, EngineError> {
    let id = identity::network(NAME);
    if engine.state().networks.contains_key(&id) {
        return Ok(id);
    }
    let bridge = BridgeWish {
        link: Some(NAME.to_owned()),
        ipv4: FamilyWish::Subnet(SubnetWish::of(node.pod_cidr)),
        names: Names::HostsFile,
        others: Others::Reached,
        addresses: node.api.into_iter().chain([node.names.server]).map(IpAddr::V4).collect(),
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

/// Tells the engine which cluster the host is a node of. Node ports are at the host's loopback address too, for itself.
pub async fn join(engine: &Engine, node: &NodeSettings, network: &NetworkId) -> Result<(), EngineError> {
    let cluster = Cluster {
        pod_ranges: node.pod_ranges.clone(),
        service_ranges: node.service_ranges.clone(),
        node_addresses: node.addresses.iter().copied().chain([Ipv4Addr::LOCALHOST.into()]).collect(),
        pod_network: Some(network.clone()),
        dns: Some(ClusterDns { addresses: vec![IpAddr::V4(node.names.server)], domain: node.names.domain.clone() }),
    };
    engine.submit(Command::SetCluster(Box::new(cluster))).await.map(drop)
}
