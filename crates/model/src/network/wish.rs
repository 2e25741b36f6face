//! What is asked of a new network; none means: decide.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Announce, GatewayMode, Icc, Masquerade, Names, Origin, Others, Reach};
use crate::{address::Family, document::Document, id::NetworkId};

/// What is asked of a new network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// Its identity, made at the edge.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Who wants it: a user, or a cluster.
    pub origin: Origin,
    /// What it is made of.
    pub driver: DriverWish,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What the face keeps of it.
    pub face: Document,
}

/// What a new network is to be made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DriverWish {
    /// A bridge.
    Bridge(BridgeWish),
}

/// What is asked of a new bridge network; none means: decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeWish {
    /// The interface name; `br-` and the short id unless given.
    pub link: Option<String>,
    /// Whether it has IPv4, and with which subnet.
    pub ipv4: FamilyWish,
    /// Whether it has IPv6, and with which subnet; from a pool it is a ULA /64 (RFC 4193).
    pub ipv6: FamilyWish,
    /// Largest packet in bytes; the settings' or the default route's unless given.
    pub mtu: Option<u32>,
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
    /// Whether the bridge itself has an IPv4 address (`inhibit_ipv4`).
    pub bridge_address: BridgeAddress,
    /// The host address that ports are published on when the port does not say.
    pub host_binding: Option<IpAddr>,
    /// Host links from which unpublished ports may be reached directly.
    pub trusted_links: Vec<String>,
    /// How its sandboxes find each other by name.
    pub names: Names,
    /// Start of interface names inside sandboxes.
    pub ifname_prefix: Option<String>,
    /// Whether the neighbours are told of a sandbox's new address.
    pub announce: Announce,
    /// Whether it and the other networks of the host reach each other.
    #[serde(default)]
    pub others: Others,
    /// Addresses of the host that its bridge has besides the gateway's.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
}

impl Default for BridgeWish {
    /// A network that reaches outside, with IPv4 from the pools.
    fn default() -> Self {
        Self {
            link: None,
            ipv4: FamilyWish::Pool,
            ipv6: FamilyWish::Off,
            mtu: None,
            reach: Reach::Outside,
            icc: Icc::Allowed,
            gateway_ipv4: GatewayMode::Nat,
            gateway_ipv6: GatewayMode::Nat,
            masquerade_ipv4: Masquerade::Outgoing,
            masquerade_ipv6: Masquerade::Outgoing,
            bridge_address: BridgeAddress::Set,
            host_binding: None,
            trusted_links: Vec::new(),
            names: Names::Dns,
            ifname_prefix: None,
            announce: Announce::Told,
            others: Others::Apart,
            addresses: Vec::new(),
        }
    }
}

impl BridgeWish {
    /// Whether it has a family, and with which subnet.
    pub fn family(&self, family: Family) -> &FamilyWish {
        match family {
            Family::V4 => &self.ipv4,
            Family::V6 => &self.ipv6,
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

/// Whether the bridge itself gets the gateway address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BridgeAddress {
    /// It does.
    Set,
    /// It does not.
    Inhibited,
}

/// Whether a network has a family, and with which subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FamilyWish {
    /// It has not.
    Off,
    /// One from the pools.
    Pool,
    /// This one.
    Subnet(SubnetWish),
}

/// A subnet as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetWish {
    /// The whole network.
    pub net: IpNet,
    /// The part that addresses are leased from.
    pub range: Option<IpNet>,
    /// The bridge's address; the first of the range unless given.
    pub gateway: Option<IpAddr>,
    /// Addresses in use by others, by name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// The containers' next hop, where it is not the bridge.
    pub next_hop: Option<IpAddr>,
}

impl SubnetWish {
    /// A whole network, and nothing more asked.
    pub fn of(net: IpNet) -> Self {
        Self { net, range: None, gateway: None, reserved: BTreeMap::new(), next_hop: None }
    }
}
