//! Networks as Docker shows them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ipnet::Ipv6Net;
use model::{
    Endpoint, Network, NetworkId, State,
    address::{Chosen, Family, Subnet},
    network::{Bridge, Driver, Icc, Masquerade, Origin, Reach},
    sandbox::Up,
};
use serde::Serialize;

use super::{
    create::{ConfigFrom, Document},
    ipam::{Ipam, IpamConfig},
    option,
};
use crate::time::rfc3339;

/// A network.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) id: String,
    created: String,
    pub(super) scope: &'static str,
    pub(super) driver: &'static str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<String, Attached>,
    options: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

/// A container on a network.
#[derive(Clone, Debug, Serialize)]
struct Attached {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    #[serde(rename = "MacAddress")]
    mac_address: String,
    #[serde(rename = "IPv4Address")]
    ipv4_address: String,
    #[serde(rename = "IPv6Address")]
    ipv6_address: String,
}

/// Whether the containers on a network are shown too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Containers {
    /// They are.
    Listed,
    /// They are not, as in lists.
    LeftOut,
}

/// A network with what its document says of it.
pub(super) fn show(state: &State, network: &Network, containers: Containers) -> Shown {
    // A network that was not made by Docker's words has no document of theirs.
    let document: Document = network.face.read().unwrap_or_default();
    let bridge = bridge_of(network);
    Shown {
        name: network.name.clone(),
        id: network.id.to_string(),
        created: rfc3339(network.created_ms),
        scope: "local",
        driver: driver_name(&network.driver),
        enable_ipv4: bridge.is_none_or(|bridge| bridge.ipv4.is_some()),
        enable_ipv6: bridge.is_some_and(|bridge| bridge.ipv6.is_some()),
        ipam: ipam(bridge, &document),
        internal: bridge.is_some_and(|bridge| bridge.reach == Reach::Internal),
        attachable: document.attachable,
        ingress: false,
        config_from: ConfigFrom::default(),
        config_only: false,
        containers: match containers {
            Containers::Listed => attached(state, network),
            Containers::LeftOut => BTreeMap::new(),
        },
        options: match (network.origin, bridge) {
            (Origin::Predefined, Some(bridge)) => default_options(bridge),
            _ => document.options,
        },
        labels: network.labels.clone(),
    }
}

/// The driver's name.
pub(super) fn driver_name(driver: &Driver) -> &'static str {
    match driver {
        Driver::Bridge(_) => "bridge",
        Driver::Host => "host",
        Driver::Null => "null",
    }
}

/// The endpoints of a network that are up.
pub(crate) fn endpoints_up<'a>(state: &'a State, network: &'a NetworkId) -> impl Iterator<Item = &'a Arc<Endpoint>> {
    let is_up =
        |endpoint: &&Arc<Endpoint>| state.sandboxes.get(&endpoint.sandbox).is_some_and(|sandbox| sandbox.up == Up::Up);
    state.endpoints_on(network).filter(is_up)
}

/// Whether the address is of an IPv6 subnet that was given to a network without IPv6.
pub(crate) fn has_idle_subnet_of(network: &Network, address: Ipv6Addr) -> bool {
    let document: Document = network.face.read().unwrap_or_default();
    let has_ipv6 = bridge_of(network).is_some_and(|bridge| bridge.ipv6.is_some());
    let subnets = document.ipam.config.iter().filter_map(|config| config.subnet.parse::<Ipv6Net>().ok());
    !has_ipv6 && subnets.into_iter().any(|subnet| subnet.contains(&address))
}

fn bridge_of(network: &Network) -> Option<&Bridge> {
    match &network.driver {
        Driver::Bridge(bridge) => Some(bridge),
        Driver::Host | Driver::Null => None,
    }
}

fn ipam(bridge: Option<&Bridge>, document: &Document) -> Ipam {
    let subnets = bridge.into_iter().flat_map(|bridge| bridge.ipv4.iter().chain(&bridge.ipv6));
    let mut config: Vec<IpamConfig> = subnets.map(ipam_config).collect();
    // What was asked for a family that is off is shown as it was asked.
    let shown = |asked: &IpamConfig| config.iter().any(|one| one.subnet.contains(':') == asked.subnet.contains(':'));
    let silent: Vec<IpamConfig> = document.ipam.config.iter().filter(|asked| !shown(asked)).cloned().collect();
    config.extend(silent);
    Ipam { driver: "default".to_owned(), options: document.ipam.options.clone(), config }
}

fn ipam_config(subnet: &Subnet) -> IpamConfig {
    let text = |address: &IpAddr| address.to_string();
    IpamConfig {
        subnet: subnet.net.to_string(),
        range: match (subnet.chosen, subnet.range) {
            (Chosen::ByUser, Some(range)) => range.to_string(),
            _ => String::new(),
        },
        gateway: subnet.gateway.as_ref().map(text).unwrap_or_default(),
        auxiliary: auxiliary(subnet),
    }
}

fn auxiliary(subnet: &Subnet) -> BTreeMap<String, String> {
    let next_hop =
        subnet.next_hop.iter().map(|address| (format!("DefaultGatewayIPv{}", Family::of(*address).number()), address));
    let reserved = subnet.reserved.iter().map(|(name, address)| (name.clone(), address));
    reserved.chain(next_hop).map(|(name, address)| (name, address.to_string())).collect()
}

fn default_options(bridge: &Bridge) -> BTreeMap<String, String> {
    let binding = bridge.host_binding.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    [
        (option::DEFAULT_BRIDGE, "true".to_owned()),
        (option::ENABLE_ICC, (bridge.icc == Icc::Allowed).to_string()),
        (option::ENABLE_IP_MASQUERADE, (bridge.masquerade_ipv4 != Masquerade::Off).to_string()),
        (option::HOST_BINDING_IPV4, binding.to_string()),
        (option::BRIDGE_NAME, bridge.link.clone()),
        (option::MTU, bridge.mtu.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn attached(state: &State, network: &Network) -> BTreeMap<String, Attached> {
    endpoints_up(state, &network.id).map(|endpoint| attachment(state, endpoint)).collect()
}

/// The endpoint under the id of the container whose sandbox it was made for; without one, under its own.
fn attachment(state: &State, endpoint: &Endpoint) -> (String, Attached) {
    let owner = state.residents_of(&endpoint.sandbox).min_by_key(|container| container.created_ms);
    let lease = endpoint.lease.as_ref();
    let attached = Attached {
        name: owner.map(|container| container.name.clone()).unwrap_or_default(),
        endpoint_id: endpoint.id.to_string(),
        mac_address: lease.map(|lease| lease.mac.to_string()).unwrap_or_default(),
        ipv4_address: lease.and_then(|lease| lease.ipv4).map(|net| net.to_string()).unwrap_or_default(),
        ipv6_address: lease.and_then(|lease| lease.ipv6).map(|net| net.to_string()).unwrap_or_default(),
    };
    (owner.map_or_else(|| format!("ep-{}", endpoint.id), |container| container.id.to_string()), attached)
}
