//! What the controllers look at: every object of the store at one revision, parsed at most once, and found by kind, namespace, label,
//! owner, uid and node. Nothing here decides anything.
//!
//! A `Cluster` is built by `put` and `delete`, each O(log n); a clone is a pointer, so a snapshot can be handed to whoever asks.

mod index;
mod object;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use thiserror::Error;

use self::object::prefix;
pub use self::object::{Object, ObjectRef};
use super::selector::Selector;

/// A value that is no object of Kubernetes.
#[derive(Debug, Error)]
pub enum Malformed {
    /// The key is not `/GROUP/RESOURCE/NAMESPACE/NAME`.
    #[error("{0} is not a key of the form /GROUP/RESOURCE/NAMESPACE/NAME")]
    Key(String),
    /// The value is not JSON, or has no metadata.
    #[error("the value under {key} is not an object of Kubernetes; was the store written by something else?")]
    Value {
        /// Where it is.
        key: String,
        /// Why it does not parse.
        source: serde_json::Error,
    },
}

/// What one `put` or `delete` changed.
#[derive(Clone)]
pub struct Change {
    /// The object as it was; `None` if it is new.
    pub before: Option<Arc<Object>>,
    /// The object as it is; `None` if it is gone.
    pub after: Option<Arc<Object>>,
}

/// What the controllers are told besides objects.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The certificate authority that clients inside pods trust, as PEM.
    pub root_ca: String,
    /// Where Services get their addresses and ports.
    pub service: super::service_address::Ranges,
    /// Where Services of type LoadBalancer get theirs.
    pub load_balancer: super::load_balancer::Pool,
    /// The Service (namespace, name) behind which the ingress gateway runs.
    pub gateway: Option<super::gateway::Gateway>,
    /// `spec.controller` of the IngressClasses that the gateway serves.
    pub ingress_controller: String,
}

/// Every object at one revision.
#[derive(Clone, Default)]
pub struct Cluster {
    /// What does not change while the server runs.
    pub settings: Arc<Settings>,
    /// The newest revision of any object.
    pub revision: u64,
    /// When the clock was last set, or first looked at: what is dated before this, or in the future, was dated by another clock.
    pub clock_set: Timestamp,
    objects: OrdMap<Arc<str>, Arc<Object>>,
    /// Under "KIND-OF-INDEX NUL WHAT NUL KEY", every object for each thing that it is found by.
    index: OrdMap<Arc<str>, Arc<Object>>,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(settings: Settings) -> Self {
        Cluster { settings: Arc::new(settings), ..Cluster::default() }
    }

    /// Takes in the newest revision of an object.
    ///
    /// # Errors
    /// `Malformed` leaves the cluster as it was without the object.
    pub fn put(&mut self, key: &str, revision: u64, value: Bytes) -> Result<Change, Malformed> {
        let reference = ObjectRef::parse(key).ok_or_else(|| Malformed::Key(key.into()));
        let read = reference.and_then(|reference| {
            let object = Object::read(reference, revision, value);
            object.map_err(|source| Malformed::Value { key: key.into(), source })
        });
        let object = Arc::new(read.inspect_err(|_| drop(self.delete(key)))?);
        self.revision = self.revision.max(revision);
        let before = self.objects.insert(key.into(), object.clone());
        let entries: BTreeSet<String> = index::entries(&object).into_iter().collect();
        // Most of what it was found by it still is.
        let was_found_by = before.iter().flat_map(|before| index::entries(before));
        for gone in was_found_by.filter(|entry| !entries.contains(entry)) {
            self.index.remove(gone.as_str());
        }
        for entry in entries {
            self.index.insert(entry.into(), object.clone());
        }
        Ok(Change { before, after: Some(object) })
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &str) -> Change {
        let before = self.objects.remove(key);
        if let Some(object) = &before {
            for entry in index::entries(object) {
                self.index.remove(entry.as_str());
            }
        }
        Change { before, after: None }
    }

    /// The object under a key.
    pub fn object(&self, reference: &ObjectRef) -> Option<&Object> {
        self.objects.get(reference.key()).map(|object| &**object)
    }

    /// The object of kind `T` by its name.
    pub fn get<T>(&self, namespace: &str, name: &str) -> Option<&T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        self.object(&ObjectRef::of::<T>(namespace, name))?.typed()
    }

    /// All objects of kind `T` in one namespace, or everywhere.
    pub fn list<'a, T>(&'a self, namespace: Option<&str>) -> impl Iterator<Item = &'a T> + use<'a, T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        let start = match namespace {
            Some(namespace) => format!("{}{namespace}/", prefix::<T>()),
            None => prefix::<T>(),
        };
        scan(&self.objects, start).filter_map(|object| object.typed())
    }

    /// All objects.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values().map(|object| &**object)
    }

    /// The objects of kind `T` whose labels match. An empty selector selects everything.
    pub fn selected<'a, T>(&'a self, namespace: &str, selector: &Selector) -> Vec<&'a T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        self.selected_objects::<T>(namespace, selector).filter_map(|object| object.typed()).collect()
    }

    /// The same, not parsed yet.
    pub fn selected_objects<'a, 's, T: Resource>(
        &'a self,
        namespace: &str,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'a Object> + use<'a, 's, T> {
        let candidates = match selector.first_pair() {
            Some((key, value)) => scan(&self.index, format!("label\0{}{namespace}\0{key}={value}\0", prefix::<T>())),
            None => scan(&self.objects, format!("{}{namespace}/", prefix::<T>())),
        };
        candidates.filter(|object| selector.matches(object.meta.labels.as_ref()))
    }

    /// Keys of the Services in a namespace that select these labels.
    pub fn services_selecting(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<ObjectRef> {
        let by_pair =
            labels.iter().flat_map(|(key, value)| scan(&self.index, format!("selects\0{namespace}\0{key}={value}\0")));
        by_pair
            .filter(|object| {
                let service: Option<&Service> = object.typed();
                let selector = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
                selector.is_some_and(|selector| Selector::pairs(selector).matches(Some(labels)))
            })
            .map(|object| object.reference.clone())
            .collect()
    }

    /// The Services that have an address as one of their own.
    pub fn services_at(&self, address: IpAddr) -> impl Iterator<Item = &ObjectRef> {
        scan(&self.index, format!("address\0{address}\0")).map(|object| &object.reference)
    }

    /// The Services that have a port of every node, to be reached or to be asked for their health.
    pub fn services_on_port(&self, port: u16) -> impl Iterator<Item = &ObjectRef> {
        scan(&self.index, format!("port\0{port}\0")).map(|object| &object.reference)
    }

    /// Everything that names `uid` as one of its owners.
    pub fn owned_by(&self, uid: &str) -> impl Iterator<Item = &Object> {
        scan(&self.index, format!("owner\0{uid}\0"))
    }

    /// The objects of kind `T` that `uid` steers.
    pub fn controlled_by<'a, T>(&'a self, uid: &'a str) -> impl Iterator<Item = &'a T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        self.owned_by(uid)
            .filter(move |object| object.controlled_by().is_some_and(|owner| owner.uid == uid))
            .filter_map(|object| object.typed())
    }

    /// The object with a uid.
    pub fn by_uid(&self, uid: &str) -> Option<&Object> {
        scan(&self.index, format!("uid\0{uid}\0")).next()
    }

    /// The pods that are bound to a node; those bound to none for the empty name.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Pod> {
        scan(&self.index, format!("node\0{node}\0")).filter_map(|object| object.typed())
    }

    /// Everything in a namespace.
    pub fn in_namespace(&self, namespace: &str) -> impl Iterator<Item = &Object> {
        scan(&self.index, format!("namespace\0{namespace}\0"))
    }

    /// Whether objects of this kind have been seen, so that the absence of one means something.
    pub fn knows_kind(&self, api_version: &str, kind: &str) -> bool {
        KINDS_OF_OWNERS.contains(&(api_version, kind))
            || scan(&self.index, format!("kind\0{api_version}\0{kind}\0")).next().is_some()
    }
}

/// The kinds that own others even when there is none of them: without these, the dependents of the last Deployment would stay for ever.
const KINDS_OF_OWNERS: [(&str, &str); 16] = [
    ("v1", "ConfigMap"),
    ("v1", "Endpoints"),
    ("v1", "Namespace"),
    ("v1", "Node"),
    ("v1", "Pod"),
    ("v1", "ReplicationController"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("apps/v1", "ControllerRevision"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "ReplicaSet"),
    ("apps/v1", "StatefulSet"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("networking.k8s.io/v1", "Ingress"),
];

fn scan(map: &OrdMap<Arc<str>, Arc<Object>>, start: String) -> impl Iterator<Item = &Object> + use<'_> {
    let first: Arc<str> = start.as_str().into();
    map.range(first..).take_while(move |(key, _)| key.starts_with(&start)).map(|(_, object)| &**object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(cluster: &mut Cluster, key: &str, revision: u64, value: serde_json::Value) -> Change {
        cluster.put(key, revision, value.to_string().into()).unwrap()
    }

    #[test]
    fn found_by_everything_and_by_nothing_after_its_end() {
        let mut cluster = Cluster::default();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "uid": "u1",
            "labels": {"app": "web"}, "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
            "uid": "u0", "controller": true}]}, "spec": {"containers": [], "nodeName": "one"}});
        put(&mut cluster, "/core/pods/shop/web", 7, pod.clone());
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "clusterIP": "fd00:0::1", "clusterIPs": ["fd00::1", "10.96.0.7"],
                "ports": [{"port": 80, "nodePort": 30080}], "healthCheckNodePort": 31000}});
        put(&mut cluster, "/core/services/shop/web", 8, service);
        let labels: BTreeMap<_, _> = [("app".to_string(), "web".to_string())].into();
        let found = |cluster: &Cluster| {
            [
                cluster.list::<Pod>(None).count(),
                cluster.list::<Pod>(Some("shop")).count(),
                cluster.selected::<Pod>("shop", &Selector::pairs(&labels)).len(),
                cluster.controlled_by::<Pod>("u0").count(),
                usize::from(cluster.by_uid("u1").is_some()),
                cluster.pods_on("one").count(),
                cluster.in_namespace("shop").count() - 1,
            ]
        };
        assert_eq!(found(&cluster), [1; 7]);
        assert_eq!(cluster.get::<Pod>("shop", "web").unwrap().metadata.resource_version.as_deref(), Some("7"));
        assert_eq!(cluster.services_selecting("shop", &labels).len(), 1);
        let at = |address: &str| cluster.services_at(address.parse().unwrap()).count();
        assert_eq!(["fd00::1", "10.96.0.7", "10.96.0.70"].map(at), [1, 1, 0]);
        assert_eq!([30080, 31000, 80, 3008].map(|port| cluster.services_on_port(port).count()), [1, 1, 0, 0]);
        let mut moved = pod.clone();
        moved["metadata"]["labels"]["app"] = "db".into();
        moved["spec"]["nodeName"] = "two".into();
        put(&mut cluster, "/core/pods/shop/web", 8, moved);
        assert_eq!(found(&cluster), [1, 1, 0, 1, 1, 0, 1]);
        assert_eq!(cluster.pods_on("two").count(), 1);
        put(&mut cluster, "/core/pods/shop/web", 9, pod.clone());
        assert_eq!(found(&cluster), [1; 7]);
        let copy = cluster.clone();
        cluster.delete("/core/pods/shop/web");
        assert_eq!(found(&cluster), [0; 7]);
        assert_eq!(found(&copy), [1; 7]);
        put(&mut cluster, "/core/pods/shop/web", 9, pod);
        assert!(cluster.put("/core/pods/shop/web", 10, "{".into()).is_err());
        assert_eq!(found(&cluster), [0; 7]);
    }
}
