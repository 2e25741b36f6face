//! Services: addresses that stand for whoever serves behind them, as Kubernetes has them. What is reported of them (services, endpoint
//! slices, the cluster they are of) and what was decided about it (which frontends they have, which endpoint has which slot).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{address::Family, id::NetworkId, port::Protocol};

/// An object of a cluster: `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespacedName(Arc<str>);

impl NamespacedName {
    /// The name of an object in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// `namespace/name`
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The two parts; the namespace of a name without a slash is empty.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or(("", &self.0))
    }
}

impl From<&str> for NamespacedName {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The cluster that the host is a node of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Where pods have their addresses, on this node and others: who has one of these is inside the cluster.
    pub pod_ranges: Vec<IpNet>,
    /// Where services have their cluster addresses.
    pub service_ranges: Vec<IpNet>,
    /// The host's addresses at which node ports are.
    pub node_addresses: Vec<IpAddr>,
    /// Where load balancers get their addresses from that are nobody's before: the host takes those that are given to services.
    #[serde(default)]
    pub balancer_ranges: Vec<IpNet>,
    /// The network of this node's pods: the host itself asks services from its address there.
    pub pod_network: Option<NetworkId>,
    /// The name service of the cluster, if the host has it.
    pub dns: Option<ClusterDns>,
}

/// The name service of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterDns {
    /// Its addresses, which the host has.
    pub addresses: Vec<IpAddr>,
    /// What all names end with: `cluster.local`.
    pub domain: String,
}

/// A service as it is reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWish {
    /// Its name.
    pub name: NamespacedName,
    /// Its addresses in the cluster, one of a family at most; a headless service has none.
    pub cluster_addresses: Vec<IpAddr>,
    /// Addresses outside that lead to this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_addresses: Vec<IpAddr>,
    /// Addresses of its load balancer that lead to this node as they are (`ipMode: VIP`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancer_addresses: Vec<IpAddr>,
    /// Who may ask at the load balancer's addresses; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub balancer_sources: Vec<IpNet>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Whether a client is led to the same endpoint again.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub affinity: Affinity,
    /// Who serves at its cluster addresses.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub internal: TrafficPolicy,
    /// Who serves at its other addresses.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub external: TrafficPolicy,
    /// The node's port at which it is told how many endpoints are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check_port: Option<u16>,
    /// Whether endpoints that are not ready serve.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub unready: Unready,
    /// The name that stands for it (`type: ExternalName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// Its name; empty where it is the only one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// At the cluster addresses and outside.
    pub port: u16,
    /// At the addresses of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
}

/// Whether a client is led to the same endpoint again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Affinity {
    /// To any.
    #[default]
    None,
    /// While it comes back within this time.
    ClientIp {
        /// Seconds, 1 to 86,400.
        timeout_s: u32,
    },
}

/// Who serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TrafficPolicy {
    /// Every endpoint.
    #[default]
    Cluster,
    /// Those of this node.
    Local,
}

/// Whether endpoints that are not ready serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unready {
    /// They do not.
    #[default]
    LeftOut,
    /// They do (`publishNotReadyAddresses`).
    Served,
}

/// Some of the endpoints of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Its name.
    pub name: NamespacedName,
    /// Whose endpoints.
    pub service: NamespacedName,
    /// The ports of all of them.
    pub ports: Vec<SlicePort>,
    /// The endpoints.
    pub endpoints: Vec<Backend>,
}

/// A port of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlicePort {
    /// The service's port of this name leads there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// The endpoint's port.
    pub port: u16,
}

/// An endpoint of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Whether it can serve.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub condition: Condition,
    /// Where it is.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub place: Place,
    /// Whom it is meant for by its hints.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub meant: Meant,
    /// Its name below that of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
}

/// Whether an endpoint can serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// It can.
    #[default]
    Ready,
    /// It is about to end, and still can: it does where no other is.
    Draining,
    /// It cannot.
    Unready,
}

/// Where an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On this node.
    Here,
    /// On another, or on none.
    #[default]
    Elsewhere,
}

/// Whom an endpoint is meant for, as its hints say for this node and its zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meant {
    /// For this node too.
    #[default]
    ForUs,
    /// For others: it serves here only where none is meant for this node.
    ForOthers,
}

/// What became known of the services of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceReport {
    /// Of the services.
    pub services: Report<ServiceWish>,
    /// Of their endpoints.
    pub slices: Report<EndpointSlice>,
}

/// What became known of one kind of objects. Nothing goes because it was not heard of: a source says what there is, or what goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report<T> {
    /// These came or changed, and these went.
    Changes {
        /// As they are now.
        puts: Vec<T>,
        /// Which went.
        removes: Vec<NamespacedName>,
    },
    /// This is all there is: others went.
    All(Vec<T>),
}

impl<T> Default for Report<T> {
    fn default() -> Self {
        Self::Changes { puts: Vec::new(), removes: Vec::new() }
    }
}

/// A service, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// As it was reported.
    pub wish: ServiceWish,
    /// Where it is asked.
    pub frontends: Vec<Frontend>,
    /// Where it would be asked if another service were not asked there already, or if nobody had published the port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contested: Vec<Frontend>,
    /// Who serves, of each port and family that has a frontend, in their order.
    pub slots: Vec<Slots>,
}

/// Where a service is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontend {
    /// Why there.
    pub kind: FrontendKind,
    /// The address.
    pub address: IpAddr,
    /// The port there.
    pub port: u16,
    /// Which of the service's ports it is, from 0.
    pub of: u16,
}

/// Why a service is asked somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontendKind {
    /// It is its address in the cluster.
    Cluster,
    /// It is an address outside that leads here.
    External,
    /// It is an address of its load balancer.
    Balancer,
    /// It is a port of the node.
    Node,
    /// It is a port of the node at `::1`: what is asked there cannot leave the loopback link, so a userspace listener asks the service.
    Loopback,
}

/// What tells frontends apart.
pub type FrontendKey = (IpAddr, Protocol, u16);

/// Who serves at a port in one family. One endpoint that comes or goes changes one slot or two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// Which of the service's ports, from 0.
    pub of: u16,
    /// The family.
    pub family: Family,
    /// Who serves; one may have several slots.
    pub ends: Vec<SocketAddr>,
    /// How many, from the first, are for those who ask for endpoints of this node.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub local: u16,
    /// Who serves those who ask for any.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub rest: Rest,
}

/// Who serves those who ask for any endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// All.
    #[default]
    WithLocal,
    /// Those after the local ones, which are about to end.
    Apart,
}

/// How those who ask at a frontend are spread over slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spread {
    /// Nobody serves: they are told at once.
    Refused,
    /// Nobody of this node serves: another node may.
    Dropped,
    /// Over the slots from the first.
    Over {
        /// How many, 1 to 4,095.
        count: u16,
        /// Whether a client is led to the same again.
        affinity: Affinity,
    },
}

/// What is as usual is not written: there are many.
fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The most slots that there can be at a port.
pub const SLOTS_MAX: usize = 4095;

impl Service {
    /// What tells a frontend from those of other services.
    pub fn key(&self, frontend: &Frontend) -> Option<FrontendKey> {
        let protocol = self.wish.ports.get(usize::from(frontend.of))?.protocol;
        Some((frontend.address, protocol, frontend.port))
    }

    /// What tells the frontends apart at which those outside the cluster ask.
    pub fn outside(&self) -> impl Iterator<Item = FrontendKey> + '_ {
        let outside = self.frontends.iter().filter(|frontend| frontend.kind != FrontendKind::Cluster);
        outside.filter_map(|frontend| self.key(frontend))
    }

    /// Where clients are led to endpoints.
    pub fn led(&self) -> impl Iterator<Item = &Frontend> {
        self.frontends.iter().filter(|frontend| frontend.kind != FrontendKind::Loopback)
    }

    /// Who serves at a frontend, from the first slot on, and how they are spread.
    pub fn at(&self, frontend: &Frontend) -> (&[SocketAddr], Spread) {
        let family = Family::of(frontend.address);
        let Some(slots) = self.slots_of(frontend.of, family) else { return (&[], Spread::Refused) };
        let local = usize::from(slots.local).min(slots.ends.len());
        let policy = match frontend.kind {
            FrontendKind::Cluster => self.wish.internal,
            _ => self.wish.external,
        };
        let (ends, count) = match (policy, slots.rest) {
            // Those of other nodes are there for who asks from inside.
            (TrafficPolicy::Local, _) if frontend.kind != FrontendKind::Cluster => (&slots.ends[..], local),
            (TrafficPolicy::Local, _) => (&slots.ends[..local], local),
            (TrafficPolicy::Cluster, Rest::WithLocal) => (&slots.ends[..], slots.ends.len()),
            (TrafficPolicy::Cluster, Rest::Apart) => (&slots.ends[local..], slots.ends.len() - local),
        };
        let spread = if count > 0 {
            self.over(count)
        } else if slots.ends.is_empty() {
            Spread::Refused
        } else {
            Spread::Dropped
        };
        (ends, spread)
    }

    /// Who serves at a port in a family.
    pub fn slots_of(&self, of: u16, family: Family) -> Option<&Slots> {
        let found = self.slots.binary_search_by_key(&(of, family), |slots| (slots.of, slots.family));
        found.ok().map(|index| &self.slots[index])
    }

    /// How those from inside the cluster are spread at a frontend, where it is otherwise than for others.
    pub fn from_inside(&self, frontend: &Frontend) -> Option<Spread> {
        let (ends, spread) = self.at(frontend);
        let local = frontend.kind != FrontendKind::Cluster && self.wish.external == TrafficPolicy::Local;
        let inside = if ends.is_empty() { Spread::Refused } else { self.over(ends.len()) };
        (local && inside != spread).then_some(inside)
    }

    /// All ways in which those who ask are spread.
    pub fn spreads(&self) -> impl Iterator<Item = Spread> + '_ {
        self.led().flat_map(|frontend| [Some(self.at(frontend).1), self.from_inside(frontend)]).flatten()
    }

    fn over(&self, count: usize) -> Spread {
        // There are never more, see `SLOTS_MAX`.
        Spread::Over { count: u16::try_from(count).unwrap_or(u16::MAX), affinity: self.wish.affinity }
    }
}
