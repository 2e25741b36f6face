//! Kubernetes' controllers as pure functions: `reconcile` looks at a `Cluster` (every object at one revision) and says what to change about
//! one object. No IO, no clock, no randomness, nothing remembered between two calls.
//!
//! `run.rs` keeps the cluster up to date, asks `wakes` whose turn it is after each change, and does what `reconcile` wants.

pub mod change;
mod claim;
pub mod cluster;
pub mod daemon_set;
pub mod deployment;
pub mod endpoint_slice;
pub mod endpoint_slice_mirroring;
pub mod endpoints;
pub mod garbage_collection;
pub mod gateway;
pub mod ingress_status;
pub mod load_balancer;
pub mod namespace;
pub mod node_lifecycle;
pub mod pod;
pub mod pod_gc;
pub mod replica_set;
pub mod scheduler;
pub mod selector;
pub mod service_account;
pub mod service_address;
mod slices;
mod template;
pub mod wake;

use jiff::Timestamp;

pub use change::{Delete, Event, ObjectChange, Outcome, Propagation, Severity};
pub use cluster::{Change, Cluster, Malformed, Object, ObjectRef, Settings};
pub use gateway::{Gateway, Started, applied};
pub use load_balancer::Pool;
pub use selector::Selector;
pub use service_address::{Ranges, allocate};
pub use wake::wakes;

/// Who reconciles. Each has the file of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller {
    /// Keyed by Service: is its address its own?
    ServiceAddress,
    /// Keyed by Namespace.
    Namespace,
    /// Keyed by Namespace.
    ServiceAccount,
    /// Keyed by any object that owns, or is owned.
    GarbageCollection,
    /// Keyed by Deployment.
    Deployment,
    /// Keyed by ReplicaSet.
    ReplicaSet,
    /// Keyed by DaemonSet.
    DaemonSet,
    /// Keyed by Pod.
    Scheduler,
    /// Keyed by Pod.
    PodGc,
    /// Keyed by Node.
    NodeLifecycle,
    /// Keyed by Service.
    EndpointSlice,
    /// Keyed by Service.
    Endpoints,
    /// Keyed by Endpoints.
    EndpointSliceMirroring,
    /// Keyed by Service.
    LoadBalancer,
    /// Keyed by Ingress.
    IngressStatus,
    /// Keyed by the Service behind which the gateway is.
    Gateway,
}

/// Whose turn it is, about what. `object` need not exist any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Who.
    pub controller: Controller,
    /// About what.
    pub object: ObjectRef,
}

/// What to change about one object, seen at `now`.
pub fn reconcile(cluster: &Cluster, key: &Key, now: Timestamp) -> Outcome {
    match key.controller {
        Controller::Deployment => deployment::reconcile(cluster, &key.object, now),
        Controller::ReplicaSet => replica_set::reconcile(cluster, &key.object, now),
        Controller::Scheduler => scheduler::reconcile(cluster, &key.object, now),
        Controller::EndpointSlice => endpoint_slice::reconcile(cluster, &key.object, now),
        Controller::Endpoints => endpoints::reconcile(cluster, &key.object, now),
        Controller::EndpointSliceMirroring => endpoint_slice_mirroring::reconcile(cluster, &key.object, now),
        Controller::ServiceAddress => service_address::reconcile(cluster, &key.object, now),
        Controller::Namespace => namespace::reconcile(cluster, &key.object, now),
        Controller::ServiceAccount => service_account::reconcile(cluster, &key.object, now),
        Controller::GarbageCollection => garbage_collection::reconcile(cluster, &key.object, now),
        Controller::PodGc => pod_gc::reconcile(cluster, &key.object, now),
        Controller::NodeLifecycle => node_lifecycle::reconcile(cluster, &key.object, now),
        Controller::LoadBalancer => load_balancer::reconcile(cluster, &key.object, now),
        Controller::IngressStatus => ingress_status::reconcile(cluster, &key.object, now),
        Controller::Gateway => gateway::reconcile(cluster, now),
        Controller::DaemonSet => daemon_set::reconcile(cluster, &key.object, now),
    }
}

/// What to tell people when a change of `key`'s outcome was refused for another reason than a conflict, with the server's message. The key
/// is to be reconciled again after a while that grows.
pub fn refused(
    cluster: &Cluster,
    key: &Key,
    change: &ObjectChange,
    message: &str,
    now: Timestamp,
) -> Vec<ObjectChange> {
    let told = match key.controller {
        Controller::Deployment => deployment::refused(cluster, &key.object, change, message, now),
        Controller::ReplicaSet => replica_set::refused(cluster, &key.object, change, message, now),
        Controller::DaemonSet => daemon_set::refused(cluster, &key.object, change, message),
        _ => None,
    };
    told.unwrap_or_default()
}
