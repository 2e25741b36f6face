//! Nodes.

/// The namespace of the leases by which nodes show that they live.
pub const LEASES: &str = "kube-node-lease";
