//! Sandboxes: the network home of one or more containers.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::{
    id::{ContainerId, SandboxId},
    port::{ExposedPorts, PortWish, PublishedPort},
};

/// The network home of one or more containers. Its endpoints have leases and its ports are published while it is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Its identity.
    pub id: SandboxId,
    /// Which network namespace it is.
    pub namespace: Namespace,
    /// Names by which others find it on every network with DNS: a container's name and short id; none for a pod.
    pub names: Vec<String>,
    /// Host name (sethostname(2)).
    pub hostname: String,
    /// Domain name.
    pub domainname: String,
    /// Name resolution.
    pub dns: DnsWish,
    /// Lines for `/etc/hosts`: name and address.
    pub extra_hosts: Vec<ExtraHost>,
    /// Network settings inside, as `net.ipv4.ip_unprivileged_port_start` -> value.
    pub sysctls: BTreeMap<String, String>,
    /// Ports that its programs say they listen at, in order; those that it is linked to by are told of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<ExposedPorts>,
    /// Ports that are asked to be published.
    pub ports: Vec<PortWish>,
    /// Ports that are published, while it is up.
    pub published: Vec<PublishedPort>,
    /// Whether it is up.
    pub up: Up,
    /// How long it is up.
    #[serde(default, skip_serializing_if = "Stays::is_usual")]
    pub stays: Stays,
}

/// How long a sandbox is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stays {
    /// While one of its containers lives; it goes with the last of them.
    #[default]
    WithContainers,
    /// From its making until it is removed, whatever becomes of its containers: a pod's.
    UntilRemoved,
    /// Until the last of its containers is removed: a pod's whom nobody looks after since the host left the cluster.
    Orphaned,
}

impl Stays {
    fn is_usual(&self) -> bool {
        *self == Self::WithContainers
    }
}

/// Whether a sandbox is up: whether it has its namespace, leases and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Up {
    /// It is.
    Up,
    /// It is not.
    Down,
}

/// Which network namespace a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// One of its own, named after the sandbox's short id.
    Own,
    /// The host's.
    Host,
}

/// What is asked of name resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsWish {
    /// Servers instead of the host's.
    pub servers: Vec<IpAddr>,
    /// Search domains instead of the host's; `.` means none.
    pub search: Vec<String>,
    /// Options of resolv.conf(5).
    pub options: Vec<String>,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub address: HostAddress,
}

/// An address for a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostAddress {
    /// This one.
    Is(IpAddr),
    /// The host as the sandbox sees it (Docker's `host-gateway`).
    HostGateway,
}

impl Sandbox {
    /// Whether this container is the one that the sandbox was made for. A sandbox without names was made for nobody in particular.
    pub fn is_home_of(&self, container: &ContainerId) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name == container.short())
    }
}
