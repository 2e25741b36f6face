//! Networks.

mod wish;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::{
    address::{Family, Subnet},
    document::Document,
    id::NetworkId,
};

pub use wish::{BridgeAddress, BridgeWish, DriverWish, FamilyWish, NetworkWish, SubnetWish};

/// The name of the network that containers are on when they do not say.
pub const DEFAULT: &str = "bridge";

/// A network that endpoints are on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its identity.
    pub id: NetworkId,
    /// Its name, unique.
    pub name: String,
    /// When it was made, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// What it is made of.
    pub driver: Driver,
    /// Who wants it.
    pub origin: Origin,
    /// Labels, as given.
    pub labels: BTreeMap<String, String>,
    /// What the face that made it keeps of it.
    pub face: Document,
}

/// Who wants a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Always there; cannot be removed.
    Predefined,
    /// Made by a user.
    User,
    /// Made by the agent of a Kubernetes node for its pods; users cannot remove it.
    Cluster,
}

/// What a network is made of.
#[expect(clippy::large_enum_variant, reason = "nearly every network is a bridge, and each is behind an Arc")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Driver {
    /// A Linux bridge on this host.
    Bridge(Bridge),
    /// The host's own namespace: sandboxes on it have no namespace of their own.
    Host,
    /// Nothing but loopback.
    Null,
}

/// A bridge network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The bridge's interface name.
    pub link: String,
    /// IPv4, if any.
    pub ipv4: Option<Subnet>,
    /// IPv6, if any.
    pub ipv6: Option<Subnet>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it reaches beyond itself.
    pub reach: Reach,
    /// Whether its containers may talk to each other.
    pub icc: Icc,
    /// How IPv4 meets the outside.
    pub gateway_ipv4: GatewayMode,
    /// How IPv6 meets the outside.
    pub gateway_ipv6: GatewayMode,
    /// Whether the outside sees the host's IPv4 address.
    pub masquerade_ipv4: Masquerade<Ipv4Addr>,
    /// Whether the outside sees the host's IPv6 address.
    pub masquerade_ipv6: Masquerade<Ipv6Addr>,
    /// The host address that ports are published on when the port does not say.
    pub host_binding: Option<std::net::IpAddr>,
    /// Host links from which unpublished ports may be reached directly.
    pub trusted_links: Vec<String>,
    /// How its sandboxes find each other by name.
    pub names: Names,
    /// Start of the interface names inside sandboxes; `eth` unless asked.
    pub ifname_prefix: String,
    /// Whether the neighbours are told of a sandbox's new address.
    #[serde(default)]
    pub announce: Announce,
    /// Whether it and the other networks of the host reach each other.
    #[serde(default, skip_serializing_if = "Others::is_usual")]
    pub others: Others,
    /// Addresses of the host that its bridge has besides the gateway's: sandboxes find services of the host there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<std::net::IpAddr>,
}

/// Whether a network and the other networks of the host that reach outside reach each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Others {
    /// They are kept apart, but for published ports.
    #[default]
    Apart,
    /// They reach each other at their own addresses.
    Reached,
}

impl Others {
    fn is_usual(&self) -> bool {
        *self == Self::Apart
    }
}

/// Whether the neighbours are told of a sandbox's new address: they may remember another Ethernet address for it (RFC 5227, 3; RFC 4861,
/// 7.2.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Announce {
    /// They are.
    #[default]
    Told,
    /// They find out by themselves.
    Silent,
}

/// Whether a network reaches beyond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// The outside, by way of the host.
    Outside,
    /// Only its own endpoints, and the host if the bridge has an address.
    Internal,
}

/// Whether the containers of one network may talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Icc {
    /// They may.
    Allowed,
    /// Only through published ports and explicit links.
    LinkedOnly,
}

/// How a family meets the outside (Docker's `gateway_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GatewayMode {
    /// Published ports only, translated.
    Nat,
    /// Published ports translated, and every port directly at the container's address.
    NatUnprotected,
    /// No translation: published ports directly at the container's address.
    Routed,
    /// No address on the bridge at all (internal networks).
    Isolated,
}

/// What the outside sees as the source of a network's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Masquerade<A> {
    /// The address of the link they leave by.
    Outgoing,
    /// This address of the host.
    As(A),
    /// The container's own.
    Off,
}

/// How sandboxes find each other by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Names {
    /// The DNS server at 127.0.0.11.
    Dns,
    /// Only `/etc/hosts`, with links (the default network).
    HostsFile,
}

impl Network {
    /// Whether its sandboxes reach each other by way of the host, never from port to port: what one of them answers for a service must
    /// come back by the host, which led the question there, and the one who asked keeps its address.
    pub fn is_routed(&self) -> bool {
        self.origin == Origin::Cluster
    }

    /// Its bridge, if it is made of one.
    pub fn bridge(&self) -> Option<&Bridge> {
        match &self.driver {
            Driver::Bridge(bridge) => Some(bridge),
            Driver::Host | Driver::Null => None,
        }
    }
}

impl Driver {
    /// `bridge`, `host` or `null`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

impl Bridge {
    /// Its subnet of a family.
    pub fn subnet(&self, family: Family) -> Option<&Subnet> {
        match family {
            Family::V4 => self.ipv4.as_ref(),
            Family::V6 => self.ipv6.as_ref(),
        }
    }

    /// How a family meets the outside.
    pub fn gateway_mode(&self, family: Family) -> GatewayMode {
        match family {
            Family::V4 => self.gateway_ipv4,
            Family::V6 => self.gateway_ipv6,
        }
    }
}
