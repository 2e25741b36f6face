//! The identities that the agent gives: made from what they stand for, so that an agent that starts again finds its own.

use model::{ContainerId, EndpointId, NetworkId, SandboxId};
use sha2::{Digest, Sha256};

/// The sandbox of a pod.
pub fn sandbox(uid: &str) -> SandboxId {
    SandboxId::from_bytes(digest(&["sandbox", uid]))
}

/// The endpoint of a pod.
pub fn endpoint(uid: &str) -> EndpointId {
    EndpointId::from_bytes(digest(&["endpoint", uid]))
}

/// A container of a pod.
pub fn container(uid: &str, name: &str, number: u32) -> ContainerId {
    ContainerId::from_bytes(digest(&["container", uid, name, &number.to_string()]))
}

/// The network of a node's pods.
pub fn network(name: &str) -> NetworkId {
    NetworkId::from_bytes(digest(&["network", name]))
}

/// Names and labels by which tools know a pod's containers, as kubelet's first runtime had them.
pub mod label {
    /// The pod's name.
    pub const POD: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's uid.
    pub const UID: &str = "io.kubernetes.pod.uid";
    /// The container's name in the pod.
    pub const CONTAINER: &str = "io.kubernetes.container.name";
    /// How many were made before it.
    pub const NUMBER: &str = "io.kubernetes.container.restartCount";
    /// The pause before it was made, seconds.
    pub const PAUSE: &str = "io.linkspan.container.pause";
}

fn digest(parts: &[&str]) -> [u8; 32] {
    Sha256::digest(format!("linkspan/{}", parts.join("/"))).into()
}
