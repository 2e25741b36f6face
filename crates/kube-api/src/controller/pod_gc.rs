//! Pods that no node will ever end.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::change::{Delete, ObjectChange, Outcome};
use super::cluster::{Cluster, ObjectRef};
use super::pod;

/// A pod may be seen before its node.
const QUARANTINE_SECONDS: i64 = 40;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Removes the pod at once if it waits for a node that is not there.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(pod) = cluster.get::<Pod>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(name) = pod::node(pod) else {
        return if pod::terminating(pod) { remove(pod, key) } else { Outcome::default() };
    };
    let Some(node) = cluster.get::<Node>("", name) else {
        let made = pod.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let left = SignedDuration::from_secs(QUARANTINE_SECONDS) - now.duration_since(made);
        return match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => Outcome { changes: Vec::new(), again: Some(left) },
            _ => remove(pod, key),
        };
    };
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    if pod::terminating(pod)
        && taints.any(|taint| taint.key == OUT_OF_SERVICE)
        && !super::node_lifecycle::is_ready(node)
    {
        return remove(pod, key);
    }
    Outcome::default()
}

fn remove(pod: &Pod, key: &ObjectRef) -> Outcome {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let object = key.clone();
    let delete = Delete { object, uid, resource_version: None, propagation: None, grace_period_seconds: Some(0) };
    vec![ObjectChange::Delete(delete)].into()
}
