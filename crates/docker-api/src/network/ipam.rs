//! Subnets as Docker writes them, and what must be true of them whatever the state of the host. Whether a subnet is free is
//! decided by the model.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use model::network::SubnetWish;
use serde::{Deserialize, Serialize};

use crate::{ApiError, wire::null_default};

/// Auxiliary addresses with these names are the containers' next hop, in the bridge's place.
const NEXT_HOPS: [&str; 2] = ["DefaultGatewayIPv4", "DefaultGatewayIPv6"];

/// How a network gets its addresses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Ipam {
    /// Always `default`.
    #[serde(deserialize_with = "null_default")]
    pub(crate) driver: String,
    /// Options as given.
    pub(crate) options: Option<BTreeMap<String, String>>,
    /// One subnet of each family at most.
    #[serde(deserialize_with = "null_default")]
    pub(crate) config: Vec<IpamConfig>,
}

/// One subnet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IpamConfig {
    #[serde(rename = "Subnet", skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub(crate) subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub(crate) range: String,
    #[serde(rename = "Gateway", skip_serializing_if = "String::is_empty", deserialize_with = "null_default")]
    pub(crate) gateway: String,
    #[serde(
        rename = "AuxiliaryAddresses",
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub(crate) auxiliary: BTreeMap<String, String>,
}

/// The IPv4 and the IPv6 subnet asked for. IPv6 subnets of a network without IPv6 mean nothing.
pub(super) fn subnets(ipam: &Ipam, with_ipv6: bool) -> Result<[Option<SubnetWish>; 2], ApiError> {
    if !matches!(ipam.driver.as_str(), "" | "default") {
        return Err(no_plugin(&ipam.driver));
    }
    let mut subnets = [None, None];
    let mut mistakes = Vec::new();
    for config in &ipam.config {
        let Ok(net) = config.subnet.parse::<IpNet>() else {
            mistakes.push(format!("invalid subnet {}: invalid CIDR block notation", config.subnet));
            continue;
        };
        let slot = usize::from(matches!(net, IpNet::V6(_)));
        if slot == 1 && !with_ipv6 {
            continue;
        }
        let wish = subnet(net, config, &mut mistakes);
        if subnets[slot].replace(wish).is_some() {
            return Err(ApiError::forbidden("bridge driver doesn't support multiple subnets"));
        }
    }
    match mistakes.as_slice() {
        [] => Ok(subnets),
        [one] => Err(ApiError::invalid(format!("invalid network config:\n{one}"))),
        many => Err(ApiError::invalid(format!("invalid network config:\n* {}", many.join("\n* ")))),
    }
}

/// 404 for a driver of any kind that does not exist.
pub(super) fn no_plugin(name: &str) -> ApiError {
    ApiError::not_found(format!("could not find plugin {name} in v1 plugin registry: plugin not found"))
}

/// One wish, with every mistake in it noted.
fn subnet(net: IpNet, config: &IpamConfig, mistakes: &mut Vec<String>) -> SubnetWish {
    if net != net.trunc() {
        mistakes.push(format!("invalid subnet {net}: it should be {}", net.trunc()));
    }
    let range = range(net, &config.range).unwrap_or_else(|mistake| {
        mistakes.push(format!("invalid ip-range {}: {mistake}", config.range));
        None
    });
    let gateway = address(net, &config.gateway).unwrap_or_else(|mistake| {
        mistakes.push(format!("invalid gateway {}: {mistake}", config.gateway));
        None
    });
    let (mut reserved, mut next_hop) = (BTreeMap::new(), None);
    for (name, text) in &config.auxiliary {
        match address(net, text) {
            Ok(Some(address)) if NEXT_HOPS.contains(&name.as_str()) => next_hop = Some(address),
            Ok(Some(address)) => drop(reserved.insert(name.clone(), address)),
            Ok(None) => {}
            Err(mistake) => mistakes.push(format!("invalid auxiliary address {name}: {mistake}")),
        }
    }
    SubnetWish { net: net.trunc(), range, gateway, reserved, next_hop }
}

fn range(net: IpNet, text: &str) -> Result<Option<IpNet>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let range: IpNet = text.parse().map_err(|_| "invalid CIDR block notation".to_owned())?;
    if range.addr().is_ipv4() != net.addr().is_ipv4() {
        return Err(wrong_family(net));
    }
    if range.prefix_len() < net.prefix_len() {
        return Err(format!("CIDR block is bigger than its parent subnet {net}"));
    }
    if range != range.trunc() {
        return Err(format!("it should be {}", range.trunc()));
    }
    if !net.contains(&range) {
        return Err(format!("parent subnet {net} doesn't contain ip-range"));
    }
    Ok(Some(range))
}

fn address(net: IpNet, text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| "invalid address".to_owned())?;
    if address.is_ipv4() != net.addr().is_ipv4() {
        return Err(wrong_family(net));
    }
    if !net.contains(&address) {
        return Err(format!("parent subnet {net} doesn't contain this address"));
    }
    Ok(Some(address))
}

fn wrong_family(net: IpNet) -> String {
    format!("parent subnet is an IPv{} block", if net.addr().is_ipv4() { 4 } else { 6 })
}
