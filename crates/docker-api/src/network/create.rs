//! `POST /networks/create`: what a client asks for, as a wish of the model. What Docker's words have no place for in the model
//! goes into the network's document, and comes back from there when it is shown.

use std::collections::BTreeMap;

use model::{
    NetworkId,
    network::{
        Announce, BridgeAddress, BridgeWish, DriverWish, FamilyWish, GatewayMode, Icc, Masquerade, Names, NetworkWish,
        Origin, Others, Reach,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    ipam::{self, Ipam},
    option::{self, Options},
};
use crate::{ApiError, version::Version};

/// Since when a client may switch IPv4 off.
const ENABLE_IPV4_SINCE: Version = Version::new(1, 48);

/// The body of the request.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Request {
    #[serde(rename = "Name")]
    name: Option<String>,
    #[serde(rename = "Driver")]
    driver: Option<String>,
    #[serde(rename = "Scope")]
    scope: Option<String>,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<Ipam>,
    #[serde(rename = "Internal")]
    internal: Option<bool>,
    #[serde(rename = "Attachable")]
    attachable: Option<bool>,
    #[serde(rename = "Ingress")]
    ingress: Option<bool>,
    #[serde(rename = "ConfigOnly")]
    config_only: Option<bool>,
    #[serde(rename = "ConfigFrom")]
    config_from: Option<ConfigFrom>,
    #[serde(rename = "Options")]
    options: Option<BTreeMap<String, String>>,
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

/// The network that lends its settings.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ConfigFrom {
    pub(super) network: String,
}

/// What is kept of a request to be shown again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Document {
    /// Options as given.
    pub(crate) options: BTreeMap<String, String>,
    /// Addresses as asked for.
    pub(crate) ipam: Ipam,
    /// Only of use in a swarm.
    pub(crate) attachable: bool,
}

impl Request {
    /// The request laid over options that the daemon was told for all new networks.
    pub(super) fn over(mut self, defaults: &BTreeMap<String, String>) -> Self {
        let given = self.options.take().unwrap_or_default();
        self.options = Some(defaults.clone().into_iter().chain(given).collect());
        self
    }
}

/// What a request asks for.
pub(crate) fn wish(request: Request, id: NetworkId, version: Version) -> Result<NetworkWish, ApiError> {
    let name = request.name.clone().unwrap_or_default();
    if name.trim().is_empty() {
        return Err(ApiError::invalid("invalid name: name is empty"));
    }
    check_driver(request.driver.as_deref().unwrap_or_default())?;
    check_kind(&request)?;
    let mut given = request.options.unwrap_or_default();
    let enable_ipv4 = request.enable_ipv4.filter(|_| version >= ENABLE_IPV4_SINCE);
    let families = Families {
        ipv4: enabled(enable_ipv4, &mut given, option::ENABLE_IPV4)?.unwrap_or(true),
        ipv6: enabled(request.enable_ipv6, &mut given, option::ENABLE_IPV6)?.unwrap_or(false),
    };
    let reach = if request.internal == Some(true) { Reach::Internal } else { Reach::Outside };
    let ipam = request.ipam.unwrap_or_default();
    let options = Options::parse(&given)?;
    Ok(NetworkWish {
        origin: Origin::User,
        id,
        name,
        driver: DriverWish::Bridge(bridge(&families, &ipam, options, reach)?),
        labels: request.labels.unwrap_or_default(),
        face: document(&Document { options: given, ipam, attachable: request.attachable == Some(true) })?,
    })
}

/// Which families a network has.
struct Families {
    ipv4: bool,
    ipv6: bool,
}

fn bridge(families: &Families, ipam: &Ipam, options: Options, reach: Reach) -> Result<BridgeWish, ApiError> {
    let [ipv4, ipv6] = ipam::subnets(ipam, families.ipv6)?;
    let family = |on: bool, subnet: Option<_>| match (on, subnet) {
        (false, _) => FamilyWish::Off,
        (true, None) => FamilyWish::Pool,
        (true, Some(subnet)) => FamilyWish::Subnet(subnet),
    };
    Ok(BridgeWish {
        link: options.link,
        ipv4: family(families.ipv4, ipv4),
        ipv6: family(families.ipv6, ipv6),
        mtu: options.mtu,
        reach,
        icc: if options.icc.unwrap_or(true) { Icc::Allowed } else { Icc::LinkedOnly },
        gateway_ipv4: options.gateway_ipv4.unwrap_or(GatewayMode::Nat),
        gateway_ipv6: options.gateway_ipv6.unwrap_or(GatewayMode::Nat),
        masquerade_ipv4: masquerade(options.masquerade, options.host_ipv4),
        masquerade_ipv6: masquerade(options.masquerade, options.host_ipv6),
        bridge_address: if options.inhibit_ipv4 == Some(true) { BridgeAddress::Inhibited } else { BridgeAddress::Set },
        host_binding: options.host_binding,
        trusted_links: options.trusted_links,
        names: Names::Dns,
        ifname_prefix: options.ifname_prefix,
        announce: if options.announcements == Some(0) { Announce::Silent } else { Announce::Told },
        others: Others::Apart,
        addresses: Vec::new(),
    })
}

fn masquerade<A>(on: Option<bool>, host: Option<A>) -> Masquerade<A> {
    match (on, host) {
        (Some(false), _) => Masquerade::Off,
        (_, Some(address)) => Masquerade::As(address),
        (_, None) => Masquerade::Outgoing,
    }
}

/// The request's own word, or else the option's, which is then not kept twice.
fn enabled(said: Option<bool>, options: &mut BTreeMap<String, String>, key: &str) -> Result<Option<bool>, ApiError> {
    if said.is_some() {
        options.remove(key);
        return Ok(said);
    }
    let Some(text) = options.get(key) else { return Ok(None) };
    match option::boolean(text) {
        Some(value) => Ok(Some(value)),
        None => Err(ApiError::invalid(format!("driver-opt {key:?} is not a valid bool"))),
    }
}

fn check_driver(driver: &str) -> Result<(), ApiError> {
    match driver {
        "" | "default" | "bridge" => Ok(()),
        "host" | "null" => Err(ApiError::forbidden(format!("only one instance of \"{driver}\" network is allowed"))),
        "overlay" => Err(crate::system::no_swarm()),
        "macvlan" | "ipvlan" => Err(ApiError::not_implemented(format!(
            "linkspan has no network driver {driver:?}: use the driver \"bridge\""
        ))),
        other => Err(ipam::no_plugin(other)),
    }
}

fn check_kind(request: &Request) -> Result<(), ApiError> {
    if let Some(from) = &request.config_from
        && !from.network.is_empty()
    {
        return Err(ApiError::not_found(format!("configuration network {:?} does not exist", from.network)));
    }
    if request.config_only == Some(true) {
        return Err(ApiError::not_implemented(
            "linkspan has no config-only networks: give each network its own options",
        ));
    }
    if request.ingress == Some(true) {
        return Err(ApiError::forbidden("Ingress network can only be global scope network"));
    }
    match request.scope.as_deref().unwrap_or_default() {
        "" | "local" => Ok(()),
        "swarm" => Err(ApiError::forbidden("cannot create a swarm scoped network when swarm is not active")),
        other => Err(ApiError::invalid(format!("invalid network scope {other:?}: linkspan has \"local\""))),
    }
}

fn document(document: &Document) -> Result<model::Document, ApiError> {
    model::Document::of(document).map_err(|error| ApiError::internal(format!("cannot keep the request: {error}")))
}
