//! A world without IO: an API server of a few lines, a kubelet that starts and ends pods when told, a clock that stands still until nothing
//! else is left to do. The controllers are the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use kube_api::controller::{self, Cluster, Event, Key, ObjectChange, Propagation, Settings};
use serde_json::{Value, json};

pub struct World {
    pub cluster: Cluster,
    pub objects: BTreeMap<String, Value>,
    pub events: Vec<Event>,
    pub now: Timestamp,
    pub keys: BTreeSet<Key>,
    pub timers: BTreeMap<Key, Timestamp>,
    revision: u64,
}

impl World {
    /// One ready node, which is not missed until the clock is set: a clock that has just been set misses nobody.
    pub fn new() -> World {
        let mut world = World {
            cluster: Cluster::new(Settings::default()),
            objects: BTreeMap::new(),
            events: Vec::new(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            keys: BTreeSet::new(),
            timers: BTreeMap::new(),
            revision: 0,
        };
        world.create(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}, "status": {
            "allocatable": {"cpu": "64", "memory": "64Gi", "pods": "500"},
            "conditions": [{"type": "Ready", "status": "True"}]}}));
        world.cluster.clock_set = "2126-01-01T00:00:00Z".parse().unwrap();
        world
    }

    pub fn create(&mut self, mut object: Value) {
        self.revision += 1;
        let meta = &mut object["metadata"];
        if meta["name"].is_null() {
            meta["name"] = format!("{}{}", meta["generateName"].as_str().unwrap(), self.revision).into();
        }
        if meta["namespace"].is_null() && object["kind"] != "Node" {
            object["metadata"]["namespace"] = "default".into();
        }
        object["metadata"]["uid"] = format!("uid-{}", self.revision).into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = self.now.to_string().into();
        if object["kind"] == "Pod" {
            object["status"] = json!({"phase": "Pending"});
        }
        let key = key_of(&object);
        assert!(!self.objects.contains_key(&key), "{key} is there already");
        self.store(object);
    }

    /// What a user does: replaces something in the spec.
    pub fn edit(&mut self, key: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.objects[key].clone();
        change(&mut object);
        self.write(object);
    }

    pub fn get(&self, key: &str) -> &Value {
        &self.objects[key]
    }

    pub fn list(&self, prefix: &str) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |(key, _)| key.starts_with(prefix)).map(|(_, object)| object)
    }

    fn store(&mut self, mut object: Value) {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let key = key_of(&object);
        let change = self.cluster.put(&key, self.revision, object.to_string().into()).unwrap();
        self.objects.insert(key, object);
        self.keys.extend(controller::wakes(&self.cluster, &change));
    }

    fn write(&mut self, mut object: Value) {
        let before = &self.objects[&key_of(&object)];
        if object["spec"] != before["spec"] {
            object["metadata"]["generation"] = (before["metadata"]["generation"].as_i64().unwrap() + 1).into();
        }
        let deleting = !object["metadata"]["deletionTimestamp"].is_null();
        let held = object["metadata"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
        if deleting && !held && object["kind"] != "Pod" { self.remove(&key_of(&object)) } else { self.store(object) }
    }

    pub fn remove(&mut self, key: &str) {
        self.objects.remove(key);
        let change = self.cluster.delete(key);
        self.keys.extend(controller::wakes(&self.cluster, &change));
    }

    pub fn delete(&mut self, key: &str, propagation: Option<Propagation>, grace: Option<i64>) {
        let Some(mut object) = self.objects.get(key).cloned() else { return };
        let bound = object["spec"]["nodeName"].is_string();
        let graceful = object["kind"] == "Pod" && bound && grace != Some(0);
        let finalizer = match propagation {
            Some(Propagation::Foreground) => Some("foregroundDeletion"),
            Some(Propagation::Orphan) => Some("orphan"),
            _ => None,
        };
        if finalizer.is_none() && !graceful {
            return self.remove(key);
        }
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = self.now.to_string().into();
            object["metadata"]["finalizers"] = finalizer.map_or(Value::Null, |finalizer| json!([finalizer]));
            self.store(object);
        }
    }

    /// Lets the controller of one key work. Says whether all it wanted was done.
    pub fn reconcile(&mut self, key: &Key) {
        self.keys.remove(key);
        self.timers.remove(key);
        let outcome = controller::reconcile(&self.cluster, key, self.now);
        if let Some(again) = outcome.again {
            self.timers.insert(key.clone(), self.now + again);
        }
        for change in outcome.changes {
            if !self.apply(change) {
                self.keys.insert(key.clone());
                break;
            }
        }
    }

    fn apply(&mut self, change: ObjectChange) -> bool {
        match change {
            ObjectChange::Create(object) => self.create(object),
            ObjectChange::Update(mut object) | ObjectChange::Finalize(mut object) => {
                let Some(present) = self.fresh(&object) else { return false };
                object["status"] = present["status"].clone();
                self.write(object);
            }
            ObjectChange::Status(object) => {
                let Some(mut present) = self.fresh(&object) else { return false };
                present["status"] = object["status"].clone();
                self.store(present);
            }
            ObjectChange::Delete(delete) => {
                let present = self.objects.get(delete.object.key());
                if present.is_none_or(|present| present["metadata"]["uid"] != delete.uid) {
                    return false;
                }
                self.delete(delete.object.key(), delete.propagation, delete.grace_period_seconds);
            }
            ObjectChange::Bind { pod, node, .. } => {
                let mut object = self.objects[pod.key()].clone();
                object["spec"]["nodeName"] = node.into();
                self.store(object);
            }
            ObjectChange::Event(event) => self.events.push(event),
        }
        true
    }

    fn fresh(&self, object: &Value) -> Option<Value> {
        let present = self.objects.get(&key_of(object))?;
        let same = present["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"];
        same.then(|| present.clone())
    }

    /// The pods that the kubelet has something to do about.
    pub fn busy_pods(&self) -> Vec<String> {
        let busy = |pod: &Value| {
            let ends = !pod["metadata"]["deletionTimestamp"].is_null();
            let starts = pod["spec"]["nodeName"].is_string() && !is_ready(pod) && !image(pod).starts_with("bad");
            ends || starts
        };
        let pods = self.objects.iter().filter(|(key, _)| key.starts_with("/core/pods/"));
        pods.filter(|(_, pod)| busy(pod)).map(|(key, _)| key.clone()).collect()
    }

    /// The kubelet ends a pod, or makes it ready.
    pub fn kubelet(&mut self, key: &str) {
        let mut pod = self.objects[key].clone();
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            return self.remove(key);
        }
        let number = self.revision;
        pod["status"] = json!({"phase": "Running", "podIP": format!("10.0.{}.{}", number / 250, number % 250),
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": self.now.to_string()}]});
        self.store(pod);
    }

    /// Until nothing more happens; time passes only when nothing else does, and no further than `patience`.
    pub fn settle(&mut self, patience: Duration) {
        let end = self.now + patience;
        for _ in 0..20_000 {
            if let Some(key) = self.keys.first().cloned() {
                self.reconcile(&key);
            } else if let Some(pod) = self.busy_pods().first() {
                self.kubelet(&pod.clone());
            } else if let Some(at) = self.timers.values().min().copied().filter(|at| *at <= end) {
                self.now = self.now.max(at);
                let due: Vec<_> =
                    self.timers.iter().filter(|(_, at)| **at <= self.now).map(|(key, _)| key.clone()).collect();
                for key in due {
                    self.timers.remove(&key);
                    self.keys.insert(key);
                }
            } else {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.keys);
    }

    /// The clock is set, and the controllers are told. What they wait for comes as it would have: timers do not go by the clock.
    pub fn clock_is_set(&mut self, by: Duration, direction: Direction) {
        let shift = |time: Timestamp| match direction {
            Direction::Forward => time + by,
            Direction::Backward => time - by,
        };
        self.now = shift(self.now);
        for at in self.timers.values_mut() {
            *at = shift(*at);
        }
        self.cluster.clock_set = self.now;
    }

    pub fn deploy(&mut self, spec: Value) {
        let labels = json!({"app": "web"});
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": labels});
        spec["template"] =
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "v1"}]}});
        self.create(json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}));
    }

    pub fn set_image(&mut self, image: &str) {
        self.edit(DEPLOYMENT, |object| object["spec"]["template"]["spec"]["containers"][0]["image"] = image.into());
    }

    /// Pods that count: their images, and whether they serve.
    pub fn active(&self) -> Vec<(String, bool)> {
        let pods = self.list("/core/pods/").filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods.map(|pod| (image(pod).to_string(), is_ready(pod))).collect()
    }

    pub fn condition(&self, kind: &str) -> (String, String, String) {
        let conditions = self.get(DEPLOYMENT)["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_string();
        (text("status"), text("reason"), text("message"))
    }
}

/// Whereto a clock is set.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    Forward,
    Backward,
}

pub const DEPLOYMENT: &str = "/apps/deployments/default/web";

pub fn image(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
}

pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|list| list.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// Where the store has an object.
pub fn key_of(object: &Value) -> String {
    let group = object["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("core", |(group, _)| group);
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let plural = match kind.as_str() {
        "endpoints" => kind,
        kind if kind.ends_with('s') => format!("{kind}es"),
        kind => format!("{kind}s"),
    };
    let meta = &object["metadata"];
    let text = |field: &str| meta[field].as_str().unwrap_or_default();
    format!("/{group}/{plural}/{}/{}", text("namespace"), text("name"))
}
