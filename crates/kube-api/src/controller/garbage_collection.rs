//! What is owned goes when all its owners have gone; what owns waits for it (foreground), lets it go (orphan), or just goes (background).

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::change::{Delete, ObjectChange, Outcome, Propagation, json, with};
use super::cluster::{Cluster, Object, ObjectRef};

/// The finalizer of an owner that waits for its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that lets its dependents go.
pub const ORPHAN: &str = "orphan";

/// About one object, as an owner if its deletion has begun, as a dependent otherwise.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let Some(object) = cluster.object(key) else { return Outcome::default() };
    if !object.deleting() {
        return Vec::from_iter(judge(cluster, object)).into();
    }
    if object.has_finalizer(ORPHAN) {
        return orphan(cluster, object);
    }
    if object.has_finalizer(FOREGROUND) {
        return delete_dependents(cluster, object);
    }
    Outcome::default()
}

/// What an owner is to one of its dependents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It keeps the dependent.
    Solid,
    /// There is none of this name and uid.
    Gone,
    /// It waits for the dependent to go.
    Waits,
}

fn judge(cluster: &Cluster, object: &Object) -> Option<ObjectChange> {
    let owners = object.owners();
    let states: Vec<_> = owners.iter().map(|owner| state(cluster, object, owner)).collect();
    if owners.is_empty() || states.iter().all(|state| *state == Owner::Solid) {
        return None;
    }
    if states.contains(&Owner::Solid) {
        let kept = owners.iter().zip(&states).filter(|(_, state)| **state == Owner::Solid).map(|(owner, _)| owner);
        return without(cluster, object, kept);
    }
    let has_dependents = cluster.owned_by(object.uid()).next().is_some();
    let propagation = if (states.contains(&Owner::Waits) && has_dependents) || object.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else if object.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    Some(ObjectChange::Delete(Delete {
        object: object.reference.clone(),
        uid: object.uid().into(),
        resource_version: Some(object.version().into()),
        propagation: Some(propagation),
        grace_period_seconds: None,
    }))
}

fn state(cluster: &Cluster, object: &Object, owner: &OwnerReference) -> Owner {
    match cluster.by_uid(&owner.uid) {
        Some(found) => {
            let scope = found.reference.namespace();
            let reachable = scope.is_empty() || scope == object.reference.namespace();
            if !reachable || found.reference.name() != owner.name {
                Owner::Gone
            } else if found.deleting() && found.has_finalizer(FOREGROUND) {
                Owner::Waits
            } else {
                Owner::Solid
            }
        }
        // Of a kind that nobody serves it cannot be said that it is gone.
        None if !cluster.knows_kind(&owner.api_version, &owner.kind) => Owner::Solid,
        None => Owner::Gone,
    }
}

fn orphan(cluster: &Cluster, owner: &Object) -> Outcome {
    let released: Vec<_> = cluster
        .owned_by(owner.uid())
        .filter_map(|object| without(cluster, object, object.owners().iter().filter(|other| other.uid != owner.uid())))
        .collect();
    if released.is_empty() { Vec::from_iter(unfinalize(cluster, owner, ORPHAN)).into() } else { released.into() }
}

fn delete_dependents(cluster: &Cluster, owner: &Object) -> Outcome {
    let blocks = |object: &Object| {
        object.owners().iter().any(|other| other.uid == owner.uid() && other.block_owner_deletion == Some(true))
            && !waits_for(cluster, object, owner)
    };
    let dependents: Vec<_> = cluster.owned_by(owner.uid()).collect();
    let mut changes: Vec<_> =
        dependents.iter().filter(|object| !object.deleting()).filter_map(|object| judge(cluster, object)).collect();
    if !dependents.iter().any(|object| blocks(object)) {
        changes.extend(unfinalize(cluster, owner, FOREGROUND));
    }
    changes.into()
}

/// Whether an object that is going waits, by whomever in between, for this one to go first. Two that wait for each other would stay for
/// ever.
fn waits_for(cluster: &Cluster, object: &Object, one: &Object) -> bool {
    let mut seen = BTreeSet::from([one.uid().to_owned()]);
    let mut above = vec![one];
    while let Some(lower) = above.pop() {
        if lower.uid() == object.uid() {
            return true;
        }
        let owners = lower.owners().iter().filter_map(|owner| cluster.by_uid(&owner.uid));
        let waiting = owners.filter(|owner| owner.deleting() && owner.has_finalizer(FOREGROUND));
        above.extend(waiting.filter(|owner| seen.insert(owner.uid().to_owned())));
    }
    false
}

fn without<'a>(
    cluster: &Cluster,
    object: &Object,
    kept: impl Iterator<Item = &'a OwnerReference>,
) -> Option<ObjectChange> {
    let kept: Vec<_> = kept.collect();
    let owners = if kept.is_empty() { serde_json::Value::Null } else { json(&kept) };
    with(cluster, &object.reference, &[("metadata.ownerReferences", owners)]).map(ObjectChange::Update)
}

fn unfinalize(cluster: &Cluster, object: &Object, finalizer: &str) -> Option<ObjectChange> {
    let left: Vec<_> = object.meta.finalizers.iter().flatten().filter(|other| *other != finalizer).collect();
    with(cluster, &object.reference, &[("metadata.finalizers", json(&left))]).map(ObjectChange::Update)
}
