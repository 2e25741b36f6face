//! The gateway of Ingresses: it is there when an Ingress is there for it, unless somebody else has started one.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

use super::change::{Delete, ObjectChange, Outcome, with};
use super::cluster::{Cluster, Object, ObjectRef};
use super::ingress_status::is_ours;
use super::template::fnv32;

/// Who made an object; without it, it is somebody else's and stays as it is.
const MAKER: &str = "app.kubernetes.io/managed-by";
const US: &str = "linkspan";
/// Which objects it was made of.
const MADE_OF: &str = "linkspan.dev/made-of";

/// The gateway, and what starts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The Service behind which it is.
    pub service: ObjectRef,
    /// Where its objects are, and the objects, in the order in which they are made.
    pub objects: Vec<(ObjectRef, Value)>,
    /// Who starts it.
    pub started: Started,
}

/// Who starts the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The cluster, when there is an Ingress.
    ByNeed,
    /// Somebody else, whenever.
    ByOthers,
}

/// Makes the gateway's objects, brings them to what they are made of now, or takes them away.
pub fn reconcile(cluster: &Cluster, _now: Timestamp) -> Outcome {
    let Some(gateway) = &cluster.settings.gateway else { return Outcome::default() };
    let foreign = cluster.object(&gateway.service).is_some_and(|service| !made_by_us(service));
    let wanted = gateway.started == Started::ByNeed
        && !foreign
        && cluster.list::<Ingress>(None).any(|ingress| is_ours(cluster, ingress));
    let change = |(reference, object): &(ObjectRef, Value)| {
        let present = cluster.object(reference);
        match (wanted, present) {
            (true, None) => Some(ObjectChange::Create(marked(object))),
            (true, Some(present)) => again(cluster, present, object),
            (false, present) => present.filter(|present| made_by_us(present)).map(remove),
        }
    };
    let changes = gateway.objects.iter().filter_map(change);
    changes.collect::<Vec<_>>().into()
}

fn made_by_us(object: &Object) -> bool {
    object.meta.labels.as_ref().and_then(|labels| labels.get(MAKER)).is_some_and(|maker| maker == US)
        && !object.deleting()
}

fn marked(object: &Value) -> Value {
    let mut made = object.clone();
    json_patch::merge(&mut made, &marks(object_hash(object)));
    made
}

fn marks(hash: String) -> Value {
    json!({ "metadata": { "labels": { MAKER: US }, "annotations": { MADE_OF: hash } } })
}

fn object_hash(object: &Value) -> String {
    format!("{:08x}", fnv32(&[object.to_string().as_bytes()]))
}

/// What somebody has changed since stays, until it is made of something else.
fn again(cluster: &Cluster, present: &Object, object: &Value) -> Option<ObjectChange> {
    let hash = object_hash(object);
    let made_of = present.meta.annotations.as_ref().and_then(|annotations| annotations.get(MADE_OF));
    if !made_by_us(present) || made_of == Some(&hash) {
        return None;
    }
    let mut renewed = with(cluster, &present.reference, &[])?;
    json_patch::merge(&mut renewed, object);
    json_patch::merge(&mut renewed, &marks(hash));
    Some(ObjectChange::Update(renewed))
}

fn remove(object: &Object) -> ObjectChange {
    ObjectChange::Delete(Delete {
        object: object.reference.clone(),
        uid: object.uid().to_owned(),
        resource_version: None,
        propagation: None,
        grace_period_seconds: None,
    })
}
