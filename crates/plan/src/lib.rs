//! What the state means for the host: from networks, endpoints and ports to links, addresses, routes and nftables objects, and to the
//! tables of the userspace data plane. Pure, and without a choice: the same state always gives the same plan.
//!
//! The whole is the union of fragments, one for each [`Wish`], so that one change costs a few fragments.
#![forbid(unsafe_code)]

pub mod dns;
pub mod environment;
pub mod listener;
pub mod names;
pub mod service;

mod affected;
mod base;
mod endpoint;
mod fragment;
mod network;
mod port;
mod sandbox;

use std::{collections::BTreeMap, fmt};

use model::{EndpointId, NamespacedName, NetworkId, SandboxId, State, service::Spread};
use netstate::{Key, NetState, Object};

pub use affected::affected;

/// Whose wish an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// The daemon's own: what is there once.
    Base,
    /// A network's.
    Network(NetworkId),
    /// A sandbox's: its namespace, default routes and published ports.
    Sandbox(SandboxId),
    /// An endpoint's: its link, addresses and explicit connections.
    Endpoint(EndpointId),
    /// The cluster's: what is there once for all services.
    Cluster,
    /// That of all services whose clients are spread in one way that is not always there.
    Spread(Spread),
    /// A service's.
    Service(NamespacedName),
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("base"),
            Self::Network(id) => write!(f, "network/{id}"),
            Self::Sandbox(id) => write!(f, "sandbox/{id}"),
            Self::Endpoint(id) => write!(f, "endpoint/{id}"),
            Self::Cluster => f.write_str("cluster"),
            Self::Spread(spread) => write!(f, "spread/{spread:?}"),
            Self::Service(name) => write!(f, "service/{name}"),
        }
    }
}

/// All that must be on the host, and who wants it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The objects.
    pub net: NetState,
    /// Whose wish each is. Every object has one owner.
    pub owner: BTreeMap<Key, Wish>,
}

/// All that must be on the host, and who wants it.
pub fn desired(state: &State) -> Desired {
    let mut desired = Desired::default();
    for wish in wishes(state) {
        for (key, object) in fragment(state, &wish) {
            desired.owner.insert(key.clone(), wish.clone());
            desired.net.objects.insert(key, object);
        }
    }
    desired
}

/// All that must be on the host.
pub fn net(state: &State) -> NetState {
    NetState { objects: wishes(state).flat_map(|wish| fragment(state, &wish)).collect() }
}

/// What must be on the host when linkspan leaves it: nothing of its own, and no forwarding that others were kept from while it was here.
pub fn left(state: &State) -> NetState {
    NetState { objects: base::left(state).objects }
}

/// What one wish comes to; nothing for one that is not there.
pub fn fragment(state: &State, wish: &Wish) -> BTreeMap<Key, Object> {
    let fragment = match wish {
        Wish::Base => base::fragment(state),
        Wish::Network(id) => network::fragment(state, id),
        Wish::Sandbox(id) => sandbox::fragment(state, id),
        Wish::Endpoint(id) => endpoint::fragment(state, id),
        Wish::Cluster => service::nftables::cluster(state),
        Wish::Spread(spread) => service::nftables::spread(state, spread),
        Wish::Service(name) => service::nftables::service(state, name),
    };
    fragment.unwrap_or_default().objects
}

/// Everybody who may want something.
pub fn wishes(state: &State) -> impl Iterator<Item = Wish> + '_ {
    let networks = state.networks.keys().cloned().map(Wish::Network);
    let sandboxes = state.sandboxes.keys().cloned().map(Wish::Sandbox);
    let endpoints = state.endpoints.keys().cloned().map(Wish::Endpoint);
    let spreads = state.spreads.keys().copied().map(Wish::Spread);
    let services = state.services.keys().cloned().map(Wish::Service);
    let once = [Wish::Base, Wish::Cluster].into_iter();
    once.chain(networks).chain(sandboxes).chain(endpoints).chain(spreads).chain(services)
}
