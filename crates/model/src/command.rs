//! Commands: all that can be asked of the state. The edge has validated their form; whether they can be granted is decided.

use serde::{Deserialize, Serialize};

use crate::{
    address::Family,
    container::{Container, Exit, HealthResult, Resources, Restart, Run},
    document::Document,
    endpoint::EndpointWish,
    host::Settings,
    id::{ContainerId, EndpointId, NetworkId},
    network::{Announce, GatewayMode, Icc, Masquerade, Names, Reach},
    sandbox::Sandbox,
    volume::Volume,
};

/// Something asked of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The daemon starts with these settings: the predefined networks are made or kept, and containers whose policy starts them with
    /// the daemon wait for a restart. `Recover` must follow for each live container that has no process.
    Open(Box<Settings>),

    /// Make a network.
    CreateNetwork(Box<NetworkWish>),
    /// Remove a network without endpoints in use.
    RemoveNetwork(NetworkId),
    /// Put a sandbox on a network; at once if it is up.
    Connect(Box<Connect>),
    /// Take a sandbox off a network.
    Disconnect {
        /// The container in whose sandbox the endpoint is.
        container: ContainerId,
        /// The network.
        network: NetworkId,
    },

    /// Take a link away from a container on a network without DNS.
    RemoveLink {
        /// The container that knows another by the alias.
        container: ContainerId,
        /// The name that it knows it by.
        alias: String,
    },

    /// Make a container.
    CreateContainer(Box<ContainerWish>),
    /// Start a container: bring its sandbox up, then its process.
    Start(ContainerId),
    /// The process runs.
    Started {
        /// The container.
        container: ContainerId,
        /// Its process.
        run: Run,
    },
    /// The process ended, or could not be started (then `exit.error` says why).
    Exited {
        /// The container.
        container: ContainerId,
        /// How.
        exit: Exit,
    },
    /// The user asked for the end: no policy starts it again until the user does. The signals themselves are no decision.
    Stop {
        /// The container.
        container: ContainerId,
        /// The signal that is about to be sent (for the event).
        signal: i32,
    },
    /// The same, but `Start` follows when it has ended.
    Restart {
        /// The container.
        container: ContainerId,
        /// The signal that is about to be sent (for the event).
        signal: i32,
    },
    /// A signal is about to be sent (for the event).
    Kill {
        /// The container.
        container: ContainerId,
        /// Signal number.
        signal: i32,
    },
    /// Freeze the processes.
    Pause(ContainerId),
    /// Let them go on.
    Unpause(ContainerId),
    /// A pause before a restart is over.
    RestartDue(ContainerId),
    /// The daemon starts and the live container has no process (it is gone, or a restart was under way): its policy decides.
    Recover {
        /// The container.
        container: ContainerId,
        /// How it ended, as far as is known.
        exit: Exit,
    },
    /// A health check ended.
    Health {
        /// The container.
        container: ContainerId,
        /// Its result.
        result: HealthResult,
    },
    /// Give a container another name.
    Rename {
        /// The container.
        container: ContainerId,
        /// The new name.
        name: String,
    },
    /// Change limits and policy of a container.
    Update {
        /// The container.
        container: ContainerId,
        /// Its limits from now on.
        resources: Box<Resources>,
        /// Its policy from now on, if that changes.
        restart: Option<Restart>,
        /// What the face keeps of it from now on.
        face: Document,
    },
    /// Remove a container.
    RemoveContainer {
        /// The container.
        container: ContainerId,
        /// Whether its end may be forced.
        force: Force,
        /// What becomes of its anonymous volumes.
        volumes: AnonymousVolumes,
    },

    /// Make a volume; one that exists with the same options is kept.
    CreateVolume(Volume),
    /// Remove a volume that no container uses.
    RemoveVolume {
        /// Its name.
        name: String,
    },
}

/// Whether an end may be forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Force {
    /// It may not.
    No,
    /// The process is killed.
    Kill,
}

/// What becomes of anonymous volumes when their container is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnonymousVolumes {
    /// They stay.
    Keep,
    /// They go.
    Remove,
}

/// What is asked of a new network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkWish {
    /// Its identity, made at the edge.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// What it is made of.
    pub driver: DriverWish,
    /// Labels.
    pub labels: std::collections::BTreeMap<String, String>,
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
    pub masquerade_ipv4: Masquerade<std::net::Ipv4Addr>,
    /// Whether the outside sees the host's IPv6 address.
    pub masquerade_ipv6: Masquerade<std::net::Ipv6Addr>,
    /// Whether the bridge itself has an IPv4 address (`inhibit_ipv4`).
    pub bridge_address: BridgeAddress,
    /// The host address that ports are published on when the port does not say.
    pub host_binding: Option<std::net::IpAddr>,
    /// Host links from which unpublished ports may be reached directly.
    pub trusted_links: Vec<String>,
    /// How its sandboxes find each other by name.
    pub names: Names,
    /// Start of interface names inside sandboxes.
    pub ifname_prefix: Option<String>,
    /// Whether the neighbours are told of a sandbox's new address.
    pub announce: Announce,
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
    pub net: ipnet::IpNet,
    /// The part that addresses are leased from.
    pub range: Option<ipnet::IpNet>,
    /// The bridge's address; the first of the range unless given.
    pub gateway: Option<std::net::IpAddr>,
    /// Addresses in use by others, by name.
    pub reserved: std::collections::BTreeMap<String, std::net::IpAddr>,
    /// The containers' next hop, where it is not the bridge.
    pub next_hop: Option<std::net::IpAddr>,
}

impl SubnetWish {
    /// A whole network, and nothing more asked.
    pub fn of(net: ipnet::IpNet) -> Self {
        Self { net, range: None, gateway: None, reserved: std::collections::BTreeMap::new(), next_hop: None }
    }
}

/// A sandbox is to be put on a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connect {
    /// The new endpoint's identity, made at the edge.
    pub id: EndpointId,
    /// The container whose sandbox it is.
    pub container: ContainerId,
    /// The network.
    pub network: NetworkId,
    /// What is asked of the endpoint.
    pub wish: EndpointWish,
}

/// What is asked of a new container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerWish {
    /// The container, with phase `Created`, want `Stopped`.
    pub container: Container,
    /// Its network home.
    pub sandbox: SandboxWish,
    /// Volumes it mounts; those that do not exist are made.
    pub volumes: Vec<Volume>,
    /// What the face that made it keeps of it.
    pub face: Document,
}

/// The network home of a new container.
#[expect(clippy::large_enum_variant, reason = "there is one of it at a time, and the command that has it is boxed")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SandboxWish {
    /// A new one, down, with nothing published, on these networks in order.
    New {
        /// The sandbox; the container names it by this id.
        sandbox: Sandbox,
        /// Its endpoints.
        endpoints: Vec<NewEndpoint>,
    },
    /// That of another container.
    Of(ContainerId),
}

/// An endpoint of a new sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewEndpoint {
    /// Its identity, made at the edge.
    pub id: EndpointId,
    /// The network.
    pub network: NetworkId,
    /// What is asked of it.
    pub wish: EndpointWish,
}
