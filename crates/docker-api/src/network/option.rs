//! Driver options of a bridge network (`docker network create -o`). Options that are not known are kept and mean nothing, as
//! Docker has it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

use model::network::GatewayMode;

use crate::ApiError;

pub(super) const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
pub(super) const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";
pub(super) const ENABLE_ICC: &str = "com.docker.network.bridge.enable_icc";
pub(super) const ENABLE_IP_MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
pub(super) const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
pub(super) const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";
pub(super) const HOST_BINDING_IPV4: &str = "com.docker.network.bridge.host_binding_ipv4";
pub(super) const MTU: &str = "com.docker.network.driver.mtu";
const ADVERTISE_ADDR_NMSGS: &str = "com.docker.network.advertise_addr_nmsgs";
const ADVERTISE_ADDR_MS: &str = "com.docker.network.advertise_addr_ms";
const CONTAINER_IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";
const GATEWAY_MODE_IPV4: &str = "com.docker.network.bridge.gateway_mode_ipv4";
const GATEWAY_MODE_IPV6: &str = "com.docker.network.bridge.gateway_mode_ipv6";
const HOST_IPV4: &str = "com.docker.network.host_ipv4";
const HOST_IPV6: &str = "com.docker.network.host_ipv6";
const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
const TRUSTED_HOST_INTERFACES: &str = "com.docker.network.bridge.trusted_host_interfaces";

/// What the options say; none is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) link: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) icc: Option<bool>,
    pub(super) masquerade: Option<bool>,
    pub(super) inhibit_ipv4: Option<bool>,
    pub(super) gateway_ipv4: Option<GatewayMode>,
    pub(super) gateway_ipv6: Option<GatewayMode>,
    pub(super) host_binding: Option<IpAddr>,
    pub(super) host_ipv4: Option<Ipv4Addr>,
    pub(super) host_ipv6: Option<Ipv6Addr>,
    pub(super) trusted_links: Vec<String>,
    pub(super) ifname_prefix: Option<String>,
    /// How often a new address is announced; any number is once here, for no bridge loses it.
    pub(super) announcements: Option<u64>,
}

impl Options {
    /// Reads them.
    pub(super) fn parse(given: &BTreeMap<String, String>) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for (key, value) in given {
            options
                .read(key, value)
                .map_err(|why| ApiError::invalid(format!("failed to parse {key} value: {value} ({why})")))?;
        }
        Ok(options)
    }

    fn read(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            BRIDGE_NAME => self.link = Some(value.to_owned()),
            CONTAINER_IFACE_PREFIX => self.ifname_prefix = Some(value.to_owned()),
            MTU => self.mtu = mtu(value)?,
            ENABLE_ICC => self.icc = Some(yes_or_no(value)?),
            ENABLE_IP_MASQUERADE => self.masquerade = Some(yes_or_no(value)?),
            INHIBIT_IPV4 => self.inhibit_ipv4 = Some(yes_or_no(value)?),
            GATEWAY_MODE_IPV4 => self.gateway_ipv4 = Some(gateway_mode(value)?),
            GATEWAY_MODE_IPV6 => self.gateway_ipv6 = Some(gateway_mode(value)?),
            HOST_BINDING_IPV4 => self.host_binding = Some(address(value)?),
            HOST_IPV4 => self.host_ipv4 = Some(address(value)?),
            HOST_IPV6 => self.host_ipv6 = Some(address(value)?),
            ADVERTISE_ADDR_NMSGS => self.announcements = Some(within(value, 0..=3)?),
            ADVERTISE_ADDR_MS => drop(within(value, 100..=2000)?),
            TRUSTED_HOST_INTERFACES => {
                let names = value.split(':').filter(|name| !name.is_empty());
                self.trusted_links = names.map(str::to_owned).collect();
            }
            DEFAULT_BRIDGE if yes_or_no(value)? => {
                return Err("only the predefined network is the default bridge".to_owned());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Yes or no, as Go's `strconv.ParseBool` reads it.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    boolean(text).ok_or_else(|| "write true or false".to_owned())
}

fn address<A: FromStr>(text: &str) -> Result<A, String> {
    text.parse().map_err(|_| "not an address of this family".to_owned())
}

fn gateway_mode(text: &str) -> Result<GatewayMode, String> {
    match text {
        "nat" => Ok(GatewayMode::Nat),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "routed" => Ok(GatewayMode::Routed),
        "isolated" => Ok(GatewayMode::Isolated),
        other => Err(format!("unknown gateway mode {other}")),
    }
}

fn within(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it must be in the range {} to {}", range.start(), range.end()))
}

/// 0 is not said, as in Docker.
fn mtu(text: &str) -> Result<Option<u32>, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("invalid MTU number: {text}"))?;
    Ok((bytes != 0).then_some(bytes))
}
