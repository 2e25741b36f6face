//! Endpoints on the wire: `EndpointSettings` of Docker, as they are sent with a container or a connect, and as they are shown.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use model::{
    Container, Document, Endpoint, Network, State,
    address::Subnet,
    endpoint::{EndpointWish, Link, LinkTarget},
    network::{Driver, Names, Origin},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{ApiError, find, wire::null_default};

/// What a client asks of an endpoint; kept as the endpoint's face.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EndpointSettings {
    /// Its addresses.
    #[serde(rename = "IPAMConfig")]
    pub(crate) ipam_config: Option<IpamConfig>,
    /// `CONTAINER:ALIAS`.
    pub(crate) links: Option<Vec<String>>,
    /// More names.
    pub(crate) aliases: Option<Vec<String>>,
    /// Its Ethernet address.
    #[serde(deserialize_with = "null_default")]
    pub(crate) mac_address: String,
    /// Options of the driver.
    pub(crate) driver_opts: Option<BTreeMap<String, String>>,
    /// Who has the default route: the highest.
    #[serde(deserialize_with = "null_default")]
    pub(crate) gw_priority: i64,
}

/// Addresses that are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct IpamConfig {
    /// IPv4.
    #[serde(rename = "IPv4Address", deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) ipv4_address: String,
    /// IPv6.
    #[serde(rename = "IPv6Address", deserialize_with = "null_default", skip_serializing_if = "String::is_empty")]
    pub(crate) ipv6_address: String,
    /// More, not from the network's subnets.
    #[serde(rename = "LinkLocalIPs", deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) link_local_ips: Vec<String>,
}

const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
const IFNAME: &str = "com.docker.network.endpoint.ifname";

/// What the settings ask of an endpoint on this network.
pub(crate) fn wish(state: &State, network: &Network, settings: &EndpointSettings) -> Result<EndpointWish, ApiError> {
    let user_defined = network.origin == Origin::User;
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let addressed = !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty();
    if addressed && !user_defined {
        return Err(bad(network, "user specified IP address is supported on user defined networks only"));
    }
    let aliases = settings.aliases.clone().unwrap_or_default();
    if !aliases.is_empty() && !user_defined {
        return Err(bad(network, "network-scoped aliases are only supported for user-defined networks"));
    }
    let mut wish = EndpointWish {
        ipv4: address::<Ipv4Addr>(network, "IPv4", &ipam.ipv4_address)?,
        ipv6: address::<Ipv6Addr>(network, "IPv6", &ipam.ipv6_address)?,
        gateway_priority: settings.gw_priority,
        aliases,
        ..EndpointWish::default()
    };
    for text in &ipam.link_local_ips {
        wish.link_local.extend(address::<IpAddr>(network, "link-local", text)?);
    }
    if !settings.mac_address.is_empty() {
        let mac = settings.mac_address.parse();
        wish.mac = Some(mac.map_err(|_| ApiError::invalid(format!("invalid MAC address: {}", settings.mac_address)))?);
    }
    for text in settings.links.iter().flatten() {
        wish.links.push(link(state, network, text)?);
    }
    driver_options(settings, &mut wish).map_err(|words| bad(network, &words))?;
    // Docker takes an address of an IPv6 subnet that was given to a network without IPv6, and does nothing with it.
    if wish.ipv6.is_some_and(|address| crate::network::has_idle_subnet_of(network, address)) {
        wish.ipv6 = None;
    }
    wish.face = Document::of(settings).unwrap_or_default();
    Ok(wish)
}

/// Reads `CONTAINER` or `CONTAINER:ALIAS`. Where names are looked up when they are used, the container need not be there yet.
pub(crate) fn link(state: &State, network: &Network, text: &str) -> Result<Link, ApiError> {
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    let name = name.strip_prefix('/').unwrap_or(name);
    // What a container's own document says after a rename: `/web:/app/alias`.
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    if name.is_empty() || alias.is_empty() || alias.contains(':') {
        return Err(ApiError::invalid(format!("bad format for links: {text}")));
    }
    let to = match find::container(state, name) {
        Ok(container) if network.origin == Origin::User => LinkTarget::Name(container.name.clone()),
        Ok(container) => LinkTarget::Container(container.id.clone()),
        Err(_) if network.origin == Origin::User => LinkTarget::Name(name.to_owned()),
        Err(_) => {
            let words = format!("could not get container for {name}: No such container: {name}");
            return Err(ApiError::invalid(words));
        }
    };
    Ok(Link { to, alias: alias.to_owned() })
}

fn driver_options(settings: &EndpointSettings, wish: &mut EndpointWish) -> Result<(), String> {
    for (name, value) in settings.driver_opts.iter().flatten() {
        match name.as_str() {
            IFNAME => {
                let fits = !value.is_empty() && value.len() <= 15 && !value.contains(['/', ' ', ':']) && value != "lo";
                if !fits {
                    return Err(format!("invalid interface name {value:?}: 1 to 15 characters without / : or space"));
                }
                wish.ifname = Some(value.clone());
            }
            SYSCTLS => {
                for setting in value.split(',').filter(|setting| !setting.is_empty()) {
                    let (key, value) = setting
                        .split_once('=')
                        .ok_or_else(|| format!("invalid sysctl setting {setting:?}: give NAME=VALUE"))?;
                    let parts: Vec<&str> = key.split('.').collect();
                    if !matches!(parts.as_slice(), ["net", "ipv4" | "ipv6" | "mpls", _, "IFNAME", ..]) {
                        return Err(format!(
                            "unrecognised network interface sysctl {key:?}: as in net.ipv4.conf.IFNAME.log_martians"
                        ));
                    }
                    wish.sysctls.insert(key.to_owned(), value.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn address<A: std::str::FromStr>(network: &Network, family: &str, text: &str) -> Result<Option<A>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| bad(network, &format!("invalid {family} address: {text}")))
}

fn bad(network: &Network, words: &str) -> ApiError {
    ApiError::invalid(format!("invalid config for network {}: invalid endpoint settings:\n{words}", network.name))
}

/// An endpoint as `NetworkSettings.Networks` of its container shows it.
pub(crate) fn show(container: &Container, hostname: &str, endpoint: &Endpoint, network: &Network) -> Value {
    let settings: EndpointSettings = endpoint.wish.face.read().unwrap_or_default();
    let lease = endpoint.lease.as_ref();
    let ipv4 = lease.and_then(|lease| lease.ipv4);
    let ipv6 = lease.and_then(|lease| lease.ipv6);
    let gateway = |has_address: bool, subnet: Option<IpAddr>| {
        subnet.filter(|_| has_address).map(|address| address.to_string()).unwrap_or_default()
    };
    let (gateway_ipv4, gateway_ipv6) = match &network.driver {
        Driver::Bridge(bridge) => {
            (bridge.ipv4.as_ref().and_then(Subnet::next_hop), bridge.ipv6.as_ref().and_then(Subnet::next_hop))
        }
        Driver::Host | Driver::Null => (None, None),
    };
    json!({
        "IPAMConfig": settings.ipam_config,
        "Links": settings.links,
        "Aliases": settings.aliases,
        "MacAddress": lease.map(|l| l.mac).or(endpoint.wish.mac).map(|mac| mac.to_string()).unwrap_or_default(),
        "DriverOpts": settings.driver_opts,
        "GwPriority": endpoint.wish.gateway_priority,
        "NetworkID": network.id.as_str(),
        "EndpointID": if container.is_live() { endpoint.id.as_str() } else { "" },
        "Gateway": gateway(ipv4.is_some(), gateway_ipv4),
        "IPAddress": ipv4.map(|net| net.addr().to_string()).unwrap_or_default(),
        "IPPrefixLen": ipv4.map_or(0, |net| net.prefix_len()),
        "IPv6Gateway": gateway(ipv6.is_some(), gateway_ipv6),
        "GlobalIPv6Address": ipv6.map(|net| net.addr().to_string()).unwrap_or_default(),
        "GlobalIPv6PrefixLen": ipv6.map_or(0, |net| net.prefix_len()),
        "DNSNames": dns_names(container, hostname, endpoint, network),
    })
}

/// The names by which others on the network find the container; none where there is no DNS.
fn dns_names(container: &Container, hostname: &str, endpoint: &Endpoint, network: &Network) -> Option<Vec<String>> {
    let has_dns = matches!(&network.driver, Driver::Bridge(bridge) if bridge.names == Names::Dns);
    if !has_dns {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let aliases = endpoint.wish.aliases.iter().map(String::as_str);
    for name in [container.name.as_str()].into_iter().chain(aliases).chain([container.id.short(), hostname]) {
        if !name.is_empty() && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Some(names)
}
