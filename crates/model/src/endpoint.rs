//! Endpoints: a sandbox's place on a network.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::{
    address::{Family, Mac},
    document::Document,
    id::{ContainerId, EndpointId, NetworkId, SandboxId},
};

/// A sandbox's place on a network. It has a lease while the sandbox is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identity.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// The sandbox.
    pub sandbox: SandboxId,
    /// What was asked for.
    pub wish: EndpointWish,
    /// What was decided, while the sandbox is up.
    pub lease: Option<Lease>,
}

/// What is asked of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointWish {
    /// This IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// This IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// This Ethernet address.
    pub mac: Option<Mac>,
    /// More addresses, not from the network's subnets.
    pub link_local: Vec<IpAddr>,
    /// More names on this network.
    pub aliases: Vec<String>,
    /// The endpoint with the highest owns the default route; the network's name decides between equals.
    pub gateway_priority: i64,
    /// This interface name inside the sandbox.
    pub ifname: Option<String>,
    /// Settings of the interface, as `net.ipv4.conf.IFNAME.log_martians` -> value.
    pub sysctls: BTreeMap<String, String>,
    /// Containers that this one knows by another name, and may talk to when the network forbids it.
    pub links: Vec<Link>,
    /// What the face that made it keeps of it.
    pub face: Document,
}

/// An explicit link to a container on the same network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// To which container.
    pub to: LinkTarget,
    /// The name it is known by.
    pub alias: String,
}

/// The container that a link leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkTarget {
    /// This one.
    Container(ContainerId),
    /// Whichever has this name, even if none has it yet.
    Name(String),
}

/// What was decided for an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// IPv4 address with the network's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// IPv6 address with the network's prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Ethernet address.
    pub mac: Mac,
    /// Interface name inside the sandbox.
    pub ifname: String,
    /// Interface name on the host.
    pub host_ifname: String,
    /// Ethernet address of the end on the host.
    pub host_mac: Mac,
}

impl Lease {
    /// Its address of a family, with the network's prefix length.
    pub fn address(&self, family: Family) -> Option<IpNet> {
        match family {
            Family::V4 => self.ipv4.map(IpNet::V4),
            Family::V6 => self.ipv6.map(IpNet::V6),
        }
    }
}
