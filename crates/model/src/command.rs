//! Commands: all that can be asked of the state. The edge has validated their form; whether they can be granted is decided.

use serde::{Deserialize, Serialize};

use crate::{
    container::{Container, Exit, HealthResult, Resources, Restart, Run},
    document::Document,
    endpoint::EndpointWish,
    host::Settings,
    id::{ContainerId, EndpointId, NetworkId, SandboxId},
    network::NetworkWish,
    sandbox::Sandbox,
    service::{Cluster, ServiceReport},
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

    /// Make a sandbox that is up, with leases and ports, until `RemoveSandbox`: a pod's.
    CreateSandbox(Box<NewSandbox>),
    /// Take a sandbox down that was made by itself. It goes with the last of its containers, none of which may live.
    RemoveSandbox(SandboxId),

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

    /// The host is a node of this cluster.
    SetCluster(Box<Cluster>),
    /// The host is a node of no cluster any more: its services are forgotten, and the network of its pods if nobody is on it;
    /// otherwise that can be removed like others.
    LeaveCluster,
    /// Something became known of services and their endpoints: many at once, and what is wrong with one does not stop the others.
    ReportServices(Box<ServiceReport>),
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
    /// A new one; the container names it by its id.
    New(NewSandbox),
    /// One that was made by itself.
    In(SandboxId),
    /// That of another container.
    Of(ContainerId),
}

/// What is asked of a new sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewSandbox {
    /// The sandbox, down, with nothing published.
    pub sandbox: Sandbox,
    /// Its endpoints, in order.
    pub endpoints: Vec<NewEndpoint>,
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
