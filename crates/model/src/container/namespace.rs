//! Which namespaces a container shares.

use serde::{Deserialize, Serialize};

use crate::id::ContainerId;

/// Which namespaces a container shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Processes.
    pub pid: Share,
    /// System V IPC and POSIX queues, and `/dev/shm`.
    pub ipc: Share,
    /// Host name.
    pub uts: Share,
    /// The view of control groups.
    pub cgroup: Share,
}

/// With whom a namespace is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Nobody.
    Own,
    /// The host.
    Host,
    /// Another container.
    Container(ContainerId),
    /// All containers of the sandbox that ask for this (all but the view of control groups): the namespace is kept as long as the sandbox,
    /// whichever of them live.
    Sandbox,
}
