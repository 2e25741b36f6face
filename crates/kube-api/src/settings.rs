//! What the server is told.

use std::net::IpAddr;

use ipnet::IpNet;

/// What the server is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// linkspan's own version.
    pub version: String,
    /// Where clients in the cluster find the server.
    pub advertised: (IpAddr, u16),
    /// Where the cluster's names are asked for, if there is a name service.
    pub dns: Option<IpAddr>,
    /// Addresses of services: one range for each family that there is.
    pub service_ranges: Vec<IpNet>,
    /// Ports of services on every node: first and last.
    pub node_ports: (u16, u16),
    /// Addresses of load balancers; empty: those of the nodes.
    pub load_balancer_pools: Vec<IpNet>,
    /// Addresses of pods, of which every node has a part.
    pub pod_ranges: Vec<IpNet>,
    /// Domain of the cluster's names.
    pub domain: String,
}

/// The version of Kubernetes whose API this is.
pub const KUBERNETES: (&str, &str) = ("1", "36");
