//! The host: settings that stay, and facts that are true now. Facts are the only window of a decision on the world.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    address::{Pool, Subnet},
    port::{PortRange, Protocol},
};

/// What the daemon was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The default network's bridge.
    pub default_bridge: String,
    /// The default network's IPv4 subnet and bridge address; none takes one from the pools.
    pub default_ipv4: Option<Subnet>,
    /// The default network's IPv6 subnet; none means no IPv6 there.
    pub default_ipv6: Option<Subnet>,
    /// Pools that networks take their subnets from, in order.
    pub pools: Vec<Pool>,
    /// Largest packet in bytes; none means that of the default route.
    pub mtu: Option<u32>,
    /// The address ports are published on when nothing else says; none means all of both families.
    pub publish_address: Option<IpAddr>,
    /// DNS servers of containers that do not say theirs; empty means the host's.
    pub dns: Vec<IpAddr>,
    /// Who has the host forward IPv4; decided when the daemon first starts.
    #[serde(default)]
    pub forwarding_ipv4: Forwarding,
    /// Who has the host forward IPv6; decided when the daemon first starts.
    #[serde(default)]
    pub forwarding_ipv6: Forwarding,
    /// What becomes of packets between links of others, where linkspan has the host forward.
    #[serde(default)]
    pub between_others: BetweenOthers,
}

/// What becomes of packets between links that are not linkspan's, where the host forwards only since linkspan came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BetweenOthers {
    /// They are dropped, as before they were not forwarded.
    #[default]
    Dropped,
    /// They pass: the host is to be a router (Docker's `ip-forward-no-drop`).
    Forwarded,
}

/// Who has the host forward packets from link to link, of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarding {
    /// The host did before linkspan came, and goes on as it was.
    #[default]
    Before,
    /// Linkspan turned it on, for its own networks: links that are none of them must not find a way through the host by that.
    ByUs,
}

/// What is true of the host at the moment of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// A number that differs from decision to decision, from the operating system's randomness. Whatever is drawn from it is journalled.
    pub nonce: u64,
    /// Destinations of the host's routes that are not ours, the default routes left out, with the link.
    pub routes: Vec<HostRoute>,
    /// What forwards IPv4, if linkspan comes now.
    pub forwarding_ipv4: Forwarding,
    /// What forwards IPv6, if linkspan comes now.
    pub forwarding_ipv6: Forwarding,
    /// MTU of the default route's link.
    pub default_mtu: Option<u32>,
    /// The host's range of ports for callers that do not choose.
    pub ephemeral: Option<PortRange>,
    /// Sockets of the host that would be cut off by publishing their ports.
    pub listeners: Vec<Listener>,
}

/// A route of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoute {
    /// Its destination.
    pub net: IpNet,
    /// The link it leaves by.
    pub link: String,
}

/// A listening socket of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// Protocol.
    pub protocol: Protocol,
    /// The address it is bound to; unspecified means all.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Who holds it, as in `nginx (pid 812)`, if that could be found.
    pub holder: Option<String>,
}
