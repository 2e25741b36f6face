//! The node: it watches any Kubernetes API and turns pods, Services and EndpointSlices into commands of the model.
//!
//! It never knows whether the server is linkspan's own or a real kube-apiserver: all it has is a client. Nothing is chosen here that
//! `model::decide` chooses, and nothing touches the kernel.
#![forbid(unsafe_code)]

pub mod client;
pub mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod ingress;
pub mod kubelet;
pub mod node;
pub mod pod;

mod follow;
mod grpc;
mod identity;
mod image;
mod job;
mod network;
mod news;
mod objects;
mod pods;
mod random;
mod services;
mod worker;

use std::sync::{Arc, atomic::AtomicBool};

use engine::{Engine, EngineError, Places};
use kube::Client;
use model::NetworkId;
use runtime::image::RegistrySettings;
use thiserror::Error;
use tokio::sync::oneshot;

pub use event::Recorder;
pub use kubelet::Kubelet;
pub use node::NodeSettings;
pub use pod::network::ClusterNames;

/// What the agent of a node is put together from.
pub struct Agent {
    /// The API.
    pub client: Client,
    /// Containers and networks, once they are there: what the API has of services is asked for meanwhile.
    pub engine: oneshot::Receiver<Engine>,
    /// Where the files of containers are.
    pub places: Places,
    /// Where images come from.
    pub registries: RegistrySettings,
    /// What the node is told to be.
    pub node: NodeSettings,
    /// Where kubelet's API is served; none for not at all.
    pub kubelet: Option<Kubelet>,
    /// Told when the services that the API had at first are in effect.
    pub served: oneshot::Sender<()>,
}

/// Why the agent does not start.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The network of the pods cannot be made.
    #[error("cannot make the network of this node's pods: {0}")]
    Network(#[source] EngineError),
    /// Kubelet's port cannot be had.
    #[error("cannot serve kubelet's API: {0}")]
    Kubelet(#[source] std::io::Error),
}

/// What all parts of an agent share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) engine: Engine,
    pub(crate) places: Places,
    pub(crate) registries: RegistrySettings,
    pub(crate) node: NodeSettings,
    pub(crate) recorder: Recorder,
    /// The pods' network.
    pub(crate) network: NetworkId,
    pub(crate) capacity: pod::resources::Capacity,
    /// The least readiness to be killed for memory that containers can be given.
    pub(crate) oom_score_min: i32,
    pub(crate) tokens: objects::Tokens,
    /// Load balancers outside are to leave the node, which is about to go.
    pub(crate) is_leaving: AtomicBool,
}

/// Runs the node's agent until it is dropped. Pods go on without it, and another one finds them by their labels.
pub async fn run(agent: Agent) -> Result<(), AgentError> {
    let Agent { client, engine, places, registries, node, kubelet, served } = agent;
    let mut sources = services::Sources::new(&client, &node);
    let network = sources.until(async {
        let engine = engine.await.map_err(|_| EngineError::Closed)?;
        let network = network::ensure(&engine, &node).await?;
        network::join(&engine, &node, &network).await?;
        Ok((engine, network))
    });
    let (engine, network) = network.await.map_err(AgentError::Network)?;
    let (recorder, telling) = Recorder::new(client.clone(), node.name.clone());
    let capacity = node::capacity();
    let shared = Arc::new(Shared {
        client,
        engine,
        places,
        registries,
        node,
        recorder,
        network,
        capacity,
        oom_score_min: node::oom_score_min(),
        tokens: objects::Tokens::default(),
        is_leaving: AtomicBool::new(false),
    });
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(telling);
    tasks.spawn(node::keep(Arc::clone(&shared)));
    let known = pods::Known::default();
    if let Some(kubelet) = kubelet {
        tasks.spawn(kubelet::serve(kubelet, Arc::clone(&shared), known.clone()).await.map_err(AgentError::Kubelet)?);
    }
    tasks.spawn(services::run(Arc::clone(&shared), sources, served));
    tasks.spawn(pods::follow(shared, known));
    // They end with the set, when whoever runs the agent lets go of it.
    while tasks.join_next().await.is_some() {}
    Ok(())
}
