//! Changes: what a decision writes. They are journalled, and the state is nothing but the changes so far.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    container::Container,
    document::Document,
    endpoint::Endpoint,
    host::Settings,
    id::{ContainerId, EndpointId, NetworkId, SandboxId},
    network::Network,
    sandbox::Sandbox,
    service::{Cluster, EndpointSlice, NamespacedName, Service},
    volume::Volume,
};

/// What a decision writes, at once or not at all. Deletes come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Records that are made or replaced.
    pub puts: Vec<Record>,
    /// Records that go.
    pub deletes: Vec<RecordKey>,
}

/// One object of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// What the daemon was started with.
    Settings(Arc<Settings>),
    /// A network.
    Network(Arc<Network>),
    /// A sandbox.
    Sandbox(Arc<Sandbox>),
    /// An endpoint.
    Endpoint(Arc<Endpoint>),
    /// A container.
    Container(Arc<Container>),
    /// What a face keeps of a container.
    Document {
        /// The container.
        container: ContainerId,
        /// What is kept.
        document: Document,
    },
    /// A volume.
    Volume(Arc<Volume>),
    /// The cluster that the host is a node of.
    Cluster(Arc<Cluster>),
    /// A service.
    Service(Arc<Service>),
    /// Some of the endpoints of a service.
    EndpointSlice(Arc<EndpointSlice>),
}

/// Which object of the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    /// What the daemon was started with.
    Settings,
    /// A network.
    Network(NetworkId),
    /// A sandbox.
    Sandbox(SandboxId),
    /// An endpoint.
    Endpoint(EndpointId),
    /// A container.
    Container(ContainerId),
    /// What a face keeps of a container.
    Document(ContainerId),
    /// A volume, by name.
    Volume(String),
    /// The cluster that the host is a node of.
    Cluster,
    /// A service.
    Service(NamespacedName),
    /// Some of the endpoints of a service.
    EndpointSlice(NamespacedName),
}

impl Record {
    /// Which object it is.
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Settings(_) => RecordKey::Settings,
            Self::Network(network) => RecordKey::Network(network.id.clone()),
            Self::Sandbox(sandbox) => RecordKey::Sandbox(sandbox.id.clone()),
            Self::Endpoint(endpoint) => RecordKey::Endpoint(endpoint.id.clone()),
            Self::Container(container) => RecordKey::Container(container.id.clone()),
            Self::Document { container, .. } => RecordKey::Document(container.clone()),
            Self::Volume(volume) => RecordKey::Volume(volume.name.clone()),
            Self::Cluster(_) => RecordKey::Cluster,
            Self::Service(service) => RecordKey::Service(service.wish.name.clone()),
            Self::EndpointSlice(slice) => RecordKey::EndpointSlice(slice.name.clone()),
        }
    }
}
