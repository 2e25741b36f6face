//! The templates that a daemon set has had, as ControllerRevisions.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json as value};

use super::super::change::{ObjectChange, Outcome, controller_of, delete, json, reference, with, with_status};
use super::super::claim::claim;
use super::super::cluster::Cluster;
use super::super::selector::Selector;
use super::super::template;
use super::HASH_LABEL;

/// The present template's hash, and the revisions of others.
pub struct History<'a> {
    pub hash: String,
    old: Vec<&'a ControllerRevision>,
}

/// Looks the present template up; when it is new, or was not the last one, what has to be written first.
pub fn history<'a>(
    cluster: &'a Cluster,
    set: &'a DaemonSet,
    spec: &DaemonSetSpec,
    selector: &Selector,
) -> Result<History<'a>, Outcome> {
    let claim = claim::<DaemonSet, ControllerRevision>(cluster, set, selector);
    if !claim.changes.is_empty() {
        return Err(claim.changes.into());
    }
    let data = data(spec);
    let (mut current, mut old): (Vec<&ControllerRevision>, Vec<&ControllerRevision>) =
        claim.own.into_iter().partition(|revision| revision.data.as_ref().is_some_and(|own| own.0 == data));
    old.sort_by_key(|revision| (revision.revision, revision.metadata.name.as_deref()));
    current.sort_by_key(|revision| (revision.revision, revision.metadata.name.as_deref()));
    let next = old.last().map_or(0, |last| last.revision) + 1;
    let Some(current) = current.last() else {
        return Err(create(cluster, set, spec, data, next));
    };
    if current.revision < next {
        let key = reference::<ControllerRevision>(&current.metadata);
        let update = with(cluster, &key, &[("revision", next.into())]).map(ObjectChange::Update);
        return Err(Vec::from_iter(update).into());
    }
    let hash = current.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).cloned();
    Ok(History { hash: hash.unwrap_or_default(), old })
}

impl History<'_> {
    /// Revisions beyond the limit whose pods have gone, the oldest first.
    pub fn surplus(&self, spec: &DaemonSetSpec, pods: &[&Pod]) -> Vec<ObjectChange> {
        let limit = usize::try_from(spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let hash = |meta: &ObjectMeta| meta.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)).cloned();
        let live: BTreeSet<_> = pods.iter().filter_map(|pod| hash(&pod.metadata)).collect();
        let dead = self.old.iter().filter(|old| hash(&old.metadata).is_none_or(|hash| !live.contains(&hash)));
        dead.take(self.old.len().saturating_sub(limit)).map(|old| delete::<ControllerRevision>(&old.metadata)).collect()
    }
}

fn create(cluster: &Cluster, set: &DaemonSet, spec: &DaemonSetSpec, data: Value, revision: i64) -> Outcome {
    let meta = &set.metadata;
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = template::hash(&spec.template, collisions);
    let mut labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.into(), hash.clone());
    let new = ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", meta.name.as_deref().unwrap_or_default())),
            namespace: meta.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![controller_of::<DaemonSet>(meta)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    };
    if cluster.object(&reference::<ControllerRevision>(&new.metadata)).is_some() {
        let mut status = set.status.clone().unwrap_or_default();
        status.collision_count = Some(collisions + 1);
        return Vec::from_iter(with_status(cluster, &reference::<DaemonSet>(meta), &status)).into();
    }
    vec![ObjectChange::Create(json(&new))].into()
}

/// The template as a strategic merge patch that brings it back.
fn data(spec: &DaemonSetSpec) -> Value {
    let mut template = json(&spec.template);
    template["$patch"] = "replace".into();
    value!({"spec": {"template": template}})
}
