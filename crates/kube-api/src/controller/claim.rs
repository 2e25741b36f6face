//! Who belongs to a set: an orphan that its selector matches is adopted, one of its own that it no longer matches is released.

use k8s_openapi::Metadata;
use k8s_openapi::Resource;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;

use super::change::{ObjectChange, controller_of, json, reference, with};
use super::cluster::Cluster;
use super::selector::Selector;

/// Those that are the owner's, and what must be changed for others to be or no longer to be.
pub struct Claim<'a, T> {
    /// Its own; what is only just being adopted is not among them.
    pub own: Vec<&'a T>,
    /// Adoptions and releases.
    pub changes: Vec<ObjectChange>,
}

/// Looks for the objects of kind `T` in the namespace of `owner`.
pub fn claim<'a, O, T>(cluster: &'a Cluster, owner: &'a O, selector: &Selector) -> Claim<'a, T>
where
    O: Metadata<Ty = ObjectMeta>,
    T: Resource + Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    let meta = owner.metadata();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let leaving = meta.deletion_timestamp.is_some();
    let mut claim = Claim { own: Vec::new(), changes: Vec::new() };
    for object in cluster.controlled_by::<T>(uid) {
        if selector.matches(object.metadata().labels.as_ref()) {
            claim.own.push(object);
        } else if !leaving {
            let kept: Vec<_> = object.metadata().owner_references.iter().flatten().filter(|o| o.uid != uid).collect();
            claim.changes.extend(owned(cluster, object, json(&kept)));
        }
    }
    if leaving {
        return claim;
    }
    for object in cluster.selected::<T>(meta.namespace.as_deref().unwrap_or_default(), selector) {
        let theirs = object.metadata();
        let owners = theirs.owner_references.as_deref().unwrap_or_default();
        if theirs.deletion_timestamp.is_none() && owners.iter().all(|owner| owner.controller != Some(true)) {
            let mut owners: Vec<_> = owners.iter().filter(|owner| owner.uid != uid).cloned().collect();
            owners.push(controller_of::<O>(meta));
            claim.changes.extend(owned(cluster, object, json(&owners)));
        }
    }
    claim
}

fn owned<T: Metadata<Ty = ObjectMeta>>(
    cluster: &Cluster,
    object: &T,
    owners: serde_json::Value,
) -> Option<ObjectChange> {
    with(cluster, &reference::<T>(object.metadata()), &[("metadata.ownerReferences", owners)]).map(ObjectChange::Update)
}
