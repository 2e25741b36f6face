//! Namespaces: what each one has from its beginning, and the end of everything in it before its own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::change::{Delete, ObjectChange, Outcome, Propagation, json, with, with_status};
use super::cluster::{Cluster, Object, ObjectRef};

/// The ConfigMap with the certificate authority of the server, in each namespace.
pub const ROOT_CA: &str = "kube-root-ca.crt";

/// Makes the ConfigMap, or empties the namespace.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, now: Timestamp) -> Outcome {
    let Some(namespace) = cluster.get::<Namespace>("", key.name()) else { return Outcome::default() };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Vec::from_iter(root_ca(cluster, key.name())).into();
    }
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if finalizers.iter().all(|finalizer| finalizer != "kubernetes") {
        return Outcome::default();
    }
    let content: Vec<_> = cluster.in_namespace(key.name()).collect();
    let deletions: Vec<_> = content.iter().filter(|object| !object.deleting()).map(|object| delete(object)).collect();
    if !deletions.is_empty() {
        return deletions.into();
    }
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".into());
    for condition in conditions(&content, now) {
        set(status.conditions.get_or_insert_default(), condition);
    }
    if namespace.status.as_ref() != Some(&status) && !content.is_empty() {
        return Vec::from_iter(with_status(cluster, key, &status)).into();
    }
    if !content.is_empty() {
        return Outcome::default();
    }
    let left: Vec<_> = finalizers.into_iter().filter(|finalizer| finalizer != "kubernetes").collect();
    let finalized = with(cluster, key, &[("spec.finalizers", json(&left))]);
    Vec::from_iter(finalized.map(ObjectChange::Finalize)).into()
}

fn root_ca(cluster: &Cluster, namespace: &str) -> Option<ObjectChange> {
    let certificate = &cluster.settings.root_ca;
    let data: BTreeMap<_, _> = [("ca.crt".to_string(), certificate.clone())].into();
    let existing = cluster.get::<ConfigMap>(namespace, ROOT_CA);
    if certificate.is_empty() || existing.is_some_and(|existing| existing.data.as_ref() == Some(&data)) {
        return None;
    }
    if existing.is_some() {
        let key = ObjectRef::of::<ConfigMap>(namespace, ROOT_CA);
        return with(cluster, &key, &[("data", json(&data))]).map(ObjectChange::Update);
    }
    let words = "The certificate authority by which pods verify the API server.";
    let annotations = [("kubernetes.io/description".to_string(), words.to_string())].into();
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(ROOT_CA.into()),
            namespace: Some(namespace.into()),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    Some(ObjectChange::Create(json(&map)))
}

fn delete(object: &Object) -> ObjectChange {
    ObjectChange::Delete(Delete {
        object: object.reference.clone(),
        uid: object.uid().into(),
        resource_version: None,
        propagation: Some(Propagation::Background),
        grace_period_seconds: None,
    })
}

/// What is left, and what holds it.
fn conditions(content: &[&Object], now: Timestamp) -> [NamespaceCondition; 5] {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for object in content {
        let reference = &object.reference;
        let group = if reference.group() == "core" { "" } else { reference.group() };
        *kinds.entry(format!("{}.{group}", reference.resource())).or_insert(0) += 1;
        for finalizer in object.meta.finalizers.iter().flatten() {
            *finalizers.entry(finalizer).or_insert(0) += 1;
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(kind, count)| format!("{kind} has {count} resource instances")).collect();
    let held: Vec<_> = finalizers.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let condition = |kind: &str, status: bool, reason: &str, message: String| NamespaceCondition {
        type_: kind.into(),
        status: if status { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    };
    let fine = |kind, reason, message: &str| condition(kind, false, reason, message.into());
    [
        fine("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        fine(
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        fine(
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        match kinds.is_empty() {
            true => fine("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
            false => condition(
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", kinds.join(", ")),
            ),
        },
        match held.is_empty() {
            true => fine(
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
            false => condition(
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")),
            ),
        },
    ]
}

fn set(conditions: &mut Vec<NamespaceCondition>, mut condition: NamespaceCondition) {
    match conditions.iter_mut().find(|other| other.type_ == condition.type_) {
        Some(other) => {
            if other.status == condition.status {
                condition.last_transition_time = other.last_transition_time.clone();
            }
            *other = condition;
        }
        None => conditions.push(condition),
    }
}
