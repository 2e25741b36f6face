//! What people ask for: networks, sandboxes, endpoints, ports, containers, volumes; and every decision that is ever made about them.
//!
//! Pure: no sockets, no clock, no randomness; ids, time and what the host looks like come in as arguments. It does not know what
//! Linux has (that is `netstate`), nor the words of Docker or Kubernetes: a face keeps its own document beside an object, unread.
#![forbid(unsafe_code)]

pub mod address;
pub mod change;
pub mod command;
pub mod container;
pub mod decide;
pub mod document;
pub mod endpoint;
pub mod event;
pub mod host;
pub mod id;
pub mod network;
pub mod port;
pub mod refusal;
pub mod sandbox;
pub mod service;
pub mod state;
pub mod volume;

pub use change::{Change, Record, RecordKey};
pub use command::Command;
pub use container::Container;
pub use decide::{Decision, decide};
pub use document::Document;
pub use endpoint::Endpoint;
pub use event::Event;
pub use host::Facts;
pub use id::{ContainerId, EndpointId, NetworkId, SandboxId};
pub use network::Network;
pub use refusal::Refusal;
pub use sandbox::Sandbox;
pub use service::{Cluster, EndpointSlice, NamespacedName, Service};
pub use state::State;
pub use volume::Volume;
