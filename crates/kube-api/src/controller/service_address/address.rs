//! Cluster addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::ServiceSpec;

use super::{Ranges, Taken, family, probe};
use crate::kind::{Errors, Path};

/// Gives a Service the addresses that it has not, one for each of its families, and looks at those that it has.
pub fn give(spec: &mut ServiceSpec, ranges: &Ranges, taken: &Taken<'_>, seed: u32, errors: &mut Errors) {
    let path = Path::new("spec").field("clusterIPs");
    let mut addresses = spec.cluster_ips.clone().unwrap_or_default();
    if addresses.is_empty() {
        addresses.extend(spec.cluster_ip.clone().filter(|address| !address.is_empty()));
    }
    let families = spec.ip_families.clone().unwrap_or_default();
    for (index, family) in families.iter().enumerate() {
        let Some(network) = ranges.networks.iter().find(|network| family::of(&network.addr()) == family) else {
            continue;
        };
        match addresses.get(index).filter(|address| !address.is_empty()) {
            Some(wanted) if taken.keeps_address(wanted) => {}
            Some(wanted) => {
                let problem = match wanted.parse::<IpAddr>() {
                    Ok(address) if taken.has_address(address) => "provided IP is already allocated".to_string(),
                    Ok(address) if network.contains(&address) => continue,
                    _ => format!(
                        "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {network}"
                    ),
                };
                let detail = format!("failed to allocate IP {wanted}: {problem}");
                errors.invalid(&path, serde_json::json!(addresses), detail);
            }
            None => match free(network, taken, seed) {
                Some(address) => {
                    addresses.truncate(index);
                    addresses.push(address.to_string());
                }
                None => {
                    errors.invalid(&path, serde_json::json!(addresses), "failed to allocate a serviceIP: range is full")
                }
            },
        }
    }
    addresses.truncate(families.len());
    spec.cluster_ip = addresses.first().cloned();
    spec.cluster_ips = Some(addresses);
}

fn free(network: &IpNet, taken: &Taken<'_>, seed: u32) -> Option<IpAddr> {
    let bits = u32::from(network.max_prefix_len() - network.prefix_len()).min(32);
    // The network's own address is nobody's, and in IPv4 the last one neither.
    let size = (1_u64 << bits).saturating_sub(if network.addr().is_ipv4() { 2 } else { 1 });
    let at = |offset: u64| match network.network() {
        IpAddr::V4(base) => {
            IpAddr::V4(Ipv4Addr::from(u32::from(base).wrapping_add(u32::try_from(offset + 1).unwrap_or(u32::MAX))))
        }
        IpAddr::V6(base) => IpAddr::V6(Ipv6Addr::from(u128::from(base).wrapping_add(u128::from(offset + 1)))),
    };
    let reserved = (size / 16).clamp(16, 256).min(size);
    probe(size, reserved, seed).map(at).find(|address| !taken.has_address(*address))
}
