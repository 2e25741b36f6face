//! The gateway of Ingresses: it is there when an Ingress is there for it, unless somebody else has started one.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::{Value, json};

use super::change::{Delete, ObjectChange, Outcome, with};
use super::cluster::{Cluster, Object, ObjectRef};
use super::ingress_status::is_ours;
use super::template::fnv32;

/// Who made an object; without it, it is somebody else's and stays as it is. So it does when somebody has applied it since.
const MAKER: &str = "app.kubernetes.io/managed-by";
const US: &str = "linkspan";
/// Which objects it was made of.
const MADE_OF: &str = "linkspan.dev/made-of";
/// What `kubectl apply` compares with, and asks for loudly where it is missing.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

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
    let annotation = |name| object.meta.annotations.as_ref().and_then(|annotations| annotations.get(name));
    let applied_since = match (annotation(LAST_APPLIED), annotation(MADE_OF)) {
        (Some(applied), Some(made_of)) => text_hash(applied) != *made_of,
        _ => false,
    };
    let maker = object.meta.labels.as_ref().and_then(|labels| labels.get(MAKER));
    maker.is_some_and(|maker| maker == US) && !applied_since && !object.deleting()
}

/// An object as `kubectl apply` would make it, so that others can apply it too.
pub fn applied(object: &Value) -> Value {
    let mut made = object.clone();
    json_patch::merge(&mut made, &json!({ "metadata": { "annotations": { LAST_APPLIED: object.to_string() } } }));
    made
}

fn marked(object: &Value) -> Value {
    let mut made = applied(object);
    let made_of = text_hash(&object.to_string());
    json_patch::merge(
        &mut made,
        &json!({ "metadata": { "labels": { MAKER: US }, "annotations": { MADE_OF: made_of } } }),
    );
    made
}

fn text_hash(text: &str) -> String {
    format!("{:08x}", fnv32(&[text.as_bytes()]))
}

/// What somebody has changed since stays, until it is made of something else.
fn again(cluster: &Cluster, present: &Object, object: &Value) -> Option<ObjectChange> {
    let made_of = present.meta.annotations.as_ref().and_then(|annotations| annotations.get(MADE_OF));
    if !made_by_us(present) || made_of == Some(&text_hash(&object.to_string())) {
        return None;
    }
    let mut renewed = with(cluster, &present.reference, &[])?;
    json_patch::merge(&mut renewed, &marked(object));
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
