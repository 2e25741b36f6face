//! The ServiceAccount `default` of each namespace.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::change::{ObjectChange, Outcome, json};
use super::cluster::{Cluster, ObjectRef};

/// Makes it where it is missing.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let Some(namespace) = cluster.get::<Namespace>("", key.name()) else { return Outcome::default() };
    let there = cluster.get::<ServiceAccount>(key.name(), "default").is_some();
    if there || namespace.metadata.deletion_timestamp.is_some() {
        return Outcome::default();
    }
    let account = ServiceAccount {
        metadata: ObjectMeta {
            name: Some("default".into()),
            namespace: Some(key.name().into()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    };
    vec![ObjectChange::Create(json(&account))].into()
}
