//! The host: settings that stay, and facts that are true now. Facts are the only window of a decision on the world.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    address::Pool,
    network::{BridgeWish, Names},
    port::{PortRange, Protocol},
    sandbox::DnsWish,
};

/// What the daemon was started with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The default network.
    pub default_network: BridgeWish,
    /// Pools that networks take their subnets from, in order.
    pub pools: Vec<Pool>,
    /// Largest packet in bytes; none means that of the default route.
    pub mtu: Option<u32>,
    /// The address ports are published on when nothing else says; none means all of both families.
    pub publish_address: Option<IpAddr>,
    /// Name resolution of containers that do not say theirs; what is empty is the host's.
    pub dns: DnsWish,
    /// The host as containers are told of it by name (Docker's `host-gateway`); empty means the default network's bridge.
    pub host_gateway: Vec<IpAddr>,
    /// Whether published ports may be reached at the containers' own addresses, too.
    pub direct_routing: DirectRouting,
    /// Packets for containers that the host's own rules marked like this are let through.
    pub accept_mark: Option<MaskedMark>,
    /// Whether there are userspace listeners where translation cannot serve.
    pub listeners: Listeners,
    /// Whether the host is told to forward.
    pub forward: Forward,
    /// Who has the host forward IPv4; decided when a network first needs it.
    #[serde(default)]
    pub forwarding_ipv4: Forwarding,
    /// Who has the host forward IPv6; decided when a network first needs it.
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

/// Whether published ports may be reached at the containers' own addresses, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DirectRouting {
    /// Where a network's own options say so.
    AsNetworksSay,
    /// On every network.
    Allowed,
}

/// Whether there are userspace listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listeners {
    /// Where translation cannot serve.
    WhereNeeded,
    /// None at all.
    Off,
}

/// Whether the host is told to forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forward {
    /// It is.
    TurnOn,
    /// It is left as it is.
    Leave,
}

/// A packet mark (`meta mark`, nft(8)) of which some bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedMark {
    /// The bits as they must be; those that do not count are zero.
    pub value: u32,
    /// The bits that count.
    pub mask: u32,
}

impl Default for Settings {
    /// Those of a daemon that is told nothing, but without pools.
    fn default() -> Self {
        let names = Names::HostsFile;
        Self {
            default_network: BridgeWish { link: Some("docker0".to_owned()), names, ..BridgeWish::default() },
            pools: Vec::new(),
            mtu: None,
            publish_address: None,
            dns: DnsWish::default(),
            host_gateway: Vec::new(),
            direct_routing: DirectRouting::AsNetworksSay,
            accept_mark: None,
            listeners: Listeners::WhereNeeded,
            forward: Forward::TurnOn,
            forwarding_ipv4: Forwarding::Before,
            forwarding_ipv6: Forwarding::Before,
            between_others: BetweenOthers::Dropped,
        }
    }
}

/// Who has the host forward packets from link to link, of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forwarding {
    /// The host did before a network needed it, or none does, and it goes on as it was.
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
    /// Who would have the host forward IPv4, if linkspan turned it on now.
    pub forwarding_ipv4: Forwarding,
    /// Who would have the host forward IPv6, if linkspan turned it on now.
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
