//! Which ReplicaSet has the deployment's template, its number in the history, and the making of the one that is missing.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::change::{ObjectChange, Outcome, controller_of, json, reference, with, with_status};
use super::super::template::{self, HASH_LABEL};
use super::{Rollout, has_deadline, status};

const REVISION: &str = "deployment.kubernetes.io/revision";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of a deployment that are not its ReplicaSets'.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];
/// The length in characters that the history is cut to.
const HISTORY_LIMIT: usize = 2000;

type Annotations = BTreeMap<String, String>;

/// The oldest of the ReplicaSets that make the pods that the deployment wants now.
pub fn find_new(spec: &DeploymentSpec, sets: &[ReplicaSet]) -> Option<usize> {
    sets.iter().position(|set| {
        let theirs = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        theirs.is_some_and(|theirs| template::same(theirs, &spec.template))
    })
}

/// Its number in the history; 0 if it has none.
pub fn of(set: &ReplicaSet) -> i64 {
    annotation(set, REVISION).unwrap_or(0)
}

/// The size that the deployment had when this set was last scaled, and the most pods it allowed then.
pub fn sizes_at_scaling(set: &ReplicaSet) -> (Option<i32>, Option<i32>) {
    let number = |name| annotation(set, name).and_then(|number| i32::try_from(number).ok());
    (number(DESIRED), number(MAX))
}

fn annotation(set: &ReplicaSet, name: &str) -> Option<i64> {
    set.metadata.annotations.as_ref()?.get(name)?.parse().ok()
}

impl Rollout<'_> {
    /// Gives the set with the current template the highest number and the deployment's annotations, or the deployment the set's number;
    /// one of these at a time.
    pub fn number_new(&mut self) -> Option<ObjectChange> {
        let new = &self.sets[self.new?];
        let mut annotations = new.metadata.annotations.clone().unwrap_or_default();
        self.annotate(&mut annotations);
        let min_ready = self.spec.min_ready_seconds.unwrap_or(0);
        let has_min_ready = new.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0) == min_ready;
        if Some(&annotations) != new.metadata.annotations.as_ref() || !has_min_ready {
            let mut edits = vec![("metadata.annotations", json(&annotations))];
            if !has_min_ready {
                edits.push(("spec.minReadySeconds", min_ready.into()));
            }
            return with(self.cluster, &reference::<ReplicaSet>(&new.metadata), &edits).map(ObjectChange::Update);
        }
        let name = new.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Found new replica set {name:?}");
        let mut own = self.deployment.metadata.annotations.clone().unwrap_or_default();
        let revision = annotations.get(REVISION)?;
        if own.get(REVISION) != Some(revision) {
            own.insert(REVISION.into(), revision.clone());
            return with(self.cluster, &self.key(), &[("metadata.annotations", json(&own))]).map(ObjectChange::Update);
        }
        if has_deadline(self.spec) && status::get(&self.status, "Progressing").is_none() {
            status::set(&mut self.status, status::progressing("True", "FoundNewReplicaSet", &message, self.now));
        }
        None
    }

    /// Makes the set with the current template if there is none. A name that is taken by another one costs a collision.
    pub fn create_new(&mut self) -> Result<(), Outcome> {
        if self.new.is_some() {
            return Ok(());
        }
        let hash = template::hash(&self.spec.template, self.status.collision_count.unwrap_or(0));
        let set = self.new_set(&hash);
        let key = reference::<ReplicaSet>(&set.metadata);
        if self.cluster.object(&key).is_some() {
            self.status.collision_count = Some(self.status.collision_count.unwrap_or(0) + 1);
            return Err(Vec::from_iter(with_status(self.cluster, &self.key(), &self.status)).into());
        }
        self.sets.push(set);
        self.new = Some(self.sets.len() - 1);
        self.created = self.new;
        let replicas = self.size_for_new();
        let index = self.sets.len() - 1;
        if let Some(spec) = &mut self.sets[index].spec {
            spec.replicas = Some(replicas);
        }
        if replicas > 0 {
            self.say("ScalingReplicaSet", format!("Scaled up replica set {} from 0 to {replicas}", key.name()));
        }
        if has_deadline(self.spec) {
            let message = format!("Created new replica set {:?}", key.name());
            status::set(&mut self.status, status::progressing("True", "NewReplicaSetCreated", &message, self.now));
        }
        Ok(())
    }

    fn new_set(&self, hash: &str) -> ReplicaSet {
        let meta = &self.deployment.metadata;
        let mut template = self.spec.template.clone();
        let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
        labels.insert(HASH_LABEL.into(), hash.into());
        let labels = labels.clone();
        let mut selector = self.spec.selector.clone();
        selector.match_labels.get_or_insert_default().insert(HASH_LABEL.into(), hash.into());
        let mut annotations = Annotations::new();
        self.annotate(&mut annotations);
        annotations.extend(self.sizes());
        ReplicaSet {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", self.name())),
                namespace: meta.namespace.clone(),
                labels: Some(labels),
                annotations: Some(annotations),
                owner_references: Some(vec![controller_of::<Deployment>(meta)]),
                ..ObjectMeta::default()
            },
            spec: Some(ReplicaSetSpec {
                replicas: Some(0),
                min_ready_seconds: self.spec.min_ready_seconds.filter(|seconds| *seconds != 0),
                selector,
                template: Some(template),
            }),
            status: None,
        }
    }

    /// What every scaling writes beside the size.
    pub fn sizes(&self) -> [(String, String); 2] {
        let most = self.wanted() + self.slack().0;
        [(DESIRED.into(), self.wanted().to_string()), (MAX.into(), most.to_string())]
    }

    fn annotate(&self, annotations: &mut Annotations) {
        let own = self.deployment.metadata.annotations.iter().flatten();
        let copied = own.filter(|(name, _)| !NOT_COPIED.contains(&name.as_str()));
        annotations.extend(copied.map(|(name, value)| (name.clone(), value.clone())));
        let revision = 1 + self.old().map(|index| of(&self.sets[index])).max().unwrap_or(0);
        let before = annotations.get(REVISION).cloned();
        let number = before.as_deref().map_or(Ok(0), str::parse::<i64>);
        if number.is_ok_and(|number| number < revision) {
            annotations.insert(REVISION.into(), revision.to_string());
            if let Some(before) = before {
                let history = annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
                let history = remember(history, &before);
                annotations.insert(HISTORY.into(), history);
            }
        }
    }
}

/// The numbers that a set had before, the oldest cut off when they become too many.
fn remember(history: &str, revision: &str) -> String {
    let mut numbers: Vec<&str> = history.split(',').filter(|number| !number.is_empty()).collect();
    numbers.push(revision);
    while numbers.len() > 1 && numbers.iter().map(|number| number.len() + 1).sum::<usize>() > HISTORY_LIMIT {
        numbers.remove(0);
    }
    numbers.join(",")
}
