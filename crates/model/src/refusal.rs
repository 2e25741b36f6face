//! Why a command is not granted. Every refusal names who or what is in the way.

use std::net::IpAddr;

use ipnet::IpNet;
use thiserror::Error;

use crate::port::{PortRange, Protocol};

/// Why a command is not granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such object.
    #[error("No such {kind}: {name}")]
    NotFound {
        /// `container`, `network`, `volume`.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// A name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    ContainerNameInUse {
        /// The name.
        name: String,
        /// The id of the container that has it.
        holder: String,
    },
    /// A network of that name exists.
    #[error("network with name {name} already exists")]
    NetworkNameInUse {
        /// The name.
        name: String,
    },
    /// A subnet overlaps another.
    #[error(
        "invalid pool request: Pool overlaps with other one on this address space: {net} overlaps {other} of {holder}"
    )]
    SubnetInUse {
        /// The subnet asked for.
        net: IpNet,
        /// The one in the way.
        other: IpNet,
        /// `network NAME (id)` or `the route of the host by LINK`.
        holder: String,
    },
    /// No pool has a subnet left.
    #[error(
        "all predefined address pools have been fully subnetted: give the network a subnet of its own, or add a pool with default-address-pools"
    )]
    PoolsExhausted,
    /// A network has no address left.
    #[error(
        "no available IPv{family} addresses on network {network}: {net} is fully leased; remove endpoints or use a larger subnet"
    )]
    AddressesExhausted {
        /// The network's name.
        network: String,
        /// Its subnet.
        net: IpNet,
        /// 4 or 6.
        family: u8,
    },
    /// An address is in use.
    #[error("Address already in use: {address} on network {network} is used by {holder}")]
    AddressInUse {
        /// The address.
        address: IpAddr,
        /// The network's name.
        network: String,
        /// `container NAME (id)`, `the gateway`, `the auxiliary address NAME`.
        holder: String,
    },
    /// A port is published already.
    #[error("Bind for {address}:{port} failed: port is already allocated by {holder}")]
    PortInUse {
        /// The host address.
        address: IpAddr,
        /// The ports in the way.
        port: PortRange,
        /// Protocol.
        protocol: Protocol,
        /// `container NAME (id)` or `nginx (pid 812) on this host`.
        holder: String,
    },
    /// No free port could be found.
    #[error("Bind for {address} failed: all ports are allocated in {range}/{protocol}: free some, or ask for others")]
    PortsExhausted {
        /// The host address.
        address: IpAddr,
        /// Where it was looked for.
        range: PortRange,
        /// Protocol.
        protocol: Protocol,
    },
    /// A network is in use.
    #[error("error while removing network: network {network} has active endpoints ({endpoints})")]
    NetworkInUse {
        /// `NAME id ID`.
        network: String,
        /// `name:"web" id:"a1b2", ...`
        endpoints: String,
    },
    /// A volume is in use.
    #[error("remove {volume}: volume is in use - [{holders}]")]
    VolumeInUse {
        /// The volume's name.
        volume: String,
        /// The containers' ids.
        holders: String,
    },
    /// The object is not in a state in which this can be done; the words are complete.
    #[error("{0}")]
    Conflict(String),
    /// What is asked contradicts itself or the object; the words are complete.
    #[error("{0}")]
    Invalid(String),
    /// It is never allowed; the words are complete.
    #[error("{0}")]
    Forbidden(String),
    /// It is so already: nothing to do.
    #[error("{0}")]
    Unchanged(String),
}
