//! What the controllers look at: every object of the store at one revision, parsed at most once, and found by kind, namespace, label,
//! owner, uid and node. Nothing here decides anything.
//!
//! A `Cluster` is built by `put` and `delete`, each O(log n); a clone is a pointer, so a snapshot can be handed to whoever asks.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use imbl::OrdMap;
use jiff::Timestamp;
use k8s_openapi::Resource;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::selector::Selector;
use crate::object::encoding::bare;

/// The key of an object in the store: `/GROUP/RESOURCE/NAMESPACE/NAME`, with `core` for the empty group and an empty namespace for what
/// belongs to the cluster. It orders as the store does, and clones for nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef(Arc<str>);

impl ObjectRef {
    /// The object of kind `T`. `namespace` is empty for kinds that belong to the cluster.
    pub fn of<T: Resource>(namespace: &str, name: &str) -> Self {
        ObjectRef(format!("{}{namespace}/{name}", prefix::<T>()).into())
    }

    /// The object that the store keeps under `key`; `None` if that is not of the form above.
    pub fn parse(key: &str) -> Option<Self> {
        (key.starts_with('/') && key.split('/').count() == 5).then(|| ObjectRef(key.into()))
    }

    /// The key in the store.
    pub fn key(&self) -> &str {
        &self.0
    }

    /// `core` for the empty group.
    pub fn group(&self) -> &str {
        self.part(1)
    }

    /// The plural name of the kind.
    pub fn resource(&self) -> &str {
        self.part(2)
    }

    /// Empty for an object of the cluster.
    pub fn namespace(&self) -> &str {
        self.part(3)
    }

    /// The object's own name.
    pub fn name(&self) -> &str {
        self.part(4)
    }

    /// Whether the object is of kind `T`.
    pub fn is<T: Resource>(&self) -> bool {
        self.0.starts_with(&prefix::<T>())
    }

    fn part(&self, number: usize) -> &str {
        self.0.split('/').nth(number).unwrap_or_default()
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn prefix<T: Resource>() -> String {
    format!("/{}/{}/", if T::GROUP.is_empty() { "core" } else { T::GROUP }, T::URL_PATH_SEGMENT)
}

/// One object at one revision.
pub struct Object {
    /// Its place in the store.
    pub reference: ObjectRef,
    /// As written in the object.
    pub api_version: String,
    /// As written in the object.
    pub kind: String,
    /// With `resourceVersion` set to the revision.
    pub meta: ObjectMeta,
    /// The entries of the index that something in `spec` gives it: pods by node, Services by selector, address and port.
    found_by: Vec<String>,
    value: Bytes,
    typed: OnceLock<Option<Box<dyn Any + Send + Sync>>>,
}

impl Object {
    /// The object as `T`, parsed when first asked for, without `managedFields`: they are half of it, no controller looks at them, and who
    /// writes an object without them leaves them as they are. `None` if it is of another kind or does not parse: what is malformed is seen by
    /// no controller, so that it harms itself only.
    pub fn typed<T>(&self) -> Option<&T>
    where
        T: Resource + k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
    {
        if !self.reference.is::<T>() {
            return None;
        }
        let parsed = self.typed.get_or_init(|| {
            let mut object: T = serde_json::from_slice(&bare(&self.value)).ok()?;
            object.metadata_mut().resource_version = self.meta.resource_version.clone();
            Some(Box::new(object) as Box<dyn Any + Send + Sync>)
        });
        parsed.as_ref()?.downcast_ref()
    }

    /// The object as JSON, with its `resourceVersion`.
    pub fn json(&self) -> Option<serde_json::Value> {
        let mut value: serde_json::Value = serde_json::from_slice(&self.value).ok()?;
        value.get_mut("metadata")?.as_object_mut()?.insert("resourceVersion".into(), self.version().into());
        Some(value)
    }

    /// The uid, empty if it has none.
    pub fn uid(&self) -> &str {
        self.meta.uid.as_deref().unwrap_or_default()
    }

    /// The resourceVersion.
    pub fn version(&self) -> &str {
        self.meta.resource_version.as_deref().unwrap_or_default()
    }

    /// Everybody who owns it.
    pub fn owners(&self) -> &[OwnerReference] {
        self.meta.owner_references.as_deref().unwrap_or_default()
    }

    /// The one owner that steers it.
    pub fn controlled_by(&self) -> Option<&OwnerReference> {
        self.owners().iter().find(|owner| owner.controller == Some(true))
    }

    /// Whether its deletion has begun.
    pub fn deleting(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }

    /// Whether `name` holds up its deletion.
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.meta.finalizers.iter().flatten().any(|finalizer| finalizer == name)
    }
}

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Option<HeadSpec>,
}

/// What is found by something in `spec`: pods by node, Services by selector, address and port. None of it need be of the right type.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct HeadSpec {
    node_name: serde_json::Value,
    selector: serde_json::Value,
    #[serde(rename = "clusterIP")]
    cluster_ip: serde_json::Value,
    #[serde(rename = "clusterIPs")]
    cluster_ips: serde_json::Value,
    ports: serde_json::Value,
    health_check_node_port: serde_json::Value,
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
        let before = self.delete(key).before;
        let reference = ObjectRef::parse(key).ok_or_else(|| Malformed::Key(key.into()))?;
        let mut head: Head =
            serde_json::from_slice(&bare(&value)).map_err(|source| Malformed::Value { key: key.into(), source })?;
        head.metadata.resource_version = Some(revision.to_string());
        self.revision = self.revision.max(revision);
        let found_by = head.spec.map(|spec| found_by(&reference, &spec)).unwrap_or_default();
        let object = Arc::new(Object {
            reference: reference.clone(),
            api_version: head.api_version,
            kind: head.kind,
            meta: head.metadata,
            found_by,
            value,
            typed: OnceLock::new(),
        });
        for entry in index_keys(&object) {
            self.index.insert(entry.into(), object.clone());
        }
        self.objects.insert(reference.0, object.clone());
        Ok(Change { before, after: Some(object) })
    }

    /// Forgets an object.
    pub fn delete(&mut self, key: &str) -> Change {
        let before = self.objects.remove(key);
        if let Some(object) = &before {
            for entry in index_keys(object) {
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
        let candidates = match selector.first_pair() {
            Some((key, value)) => scan(&self.index, format!("label\0{}{namespace}\0{key}={value}\0", prefix::<T>())),
            None => scan(&self.objects, format!("{}{namespace}/", prefix::<T>())),
        };
        candidates.filter(|object| selector.matches(object.meta.labels.as_ref())).filter_map(|o| o.typed()).collect()
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

/// Every entry of the index under which an object is found.
fn index_keys(object: &Object) -> Vec<String> {
    let key = object.reference.key();
    let namespace = object.reference.namespace();
    let kind = &key[..key.len() - namespace.len() - object.reference.name().len() - 1];
    let mut keys =
        vec![format!("uid\0{}\0{key}", object.uid()), format!("kind\0{}\0{}\0{key}", object.api_version, object.kind)];
    if !namespace.is_empty() {
        keys.push(format!("namespace\0{namespace}\0{key}"));
    }
    for owner in object.owners() {
        keys.push(format!("owner\0{}\0{key}", owner.uid));
    }
    for (label, value) in object.meta.labels.iter().flatten() {
        keys.push(format!("label\0{kind}{namespace}\0{label}={value}\0{key}"));
    }
    keys.extend(object.found_by.iter().map(|entry| format!("{entry}\0{key}")));
    keys
}

fn found_by(reference: &ObjectRef, spec: &HeadSpec) -> Vec<String> {
    match reference.resource() {
        "pods" => vec![format!("node\0{}", spec.node_name.as_str().unwrap_or_default())],
        "services" => {
            let selector = spec.selector.as_object().and_then(|all| all.iter().min_by_key(|(label, _)| *label));
            let selects = selector.map(|(label, value)| {
                format!("selects\0{}\0{label}={}", reference.namespace(), value.as_str().unwrap_or_default())
            });
            let addresses = spec.cluster_ips.as_array().into_iter().flatten().chain([&spec.cluster_ip]);
            let addresses = addresses.filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
            let ports = spec.ports.as_array().into_iter().flatten().filter_map(|port| port.get("nodePort"));
            let ports = ports.chain([&spec.health_check_node_port]).filter_map(serde_json::Value::as_u64);
            let places = addresses.map(|address| format!("address\0{address}"));
            selects.into_iter().chain(places).chain(ports.map(|port| format!("port\0{port}"))).collect()
        }
        _ => Vec::new(),
    }
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
        let copy = cluster.clone();
        cluster.delete("/core/pods/shop/web");
        assert_eq!(found(&cluster), [0; 7]);
        assert_eq!(found(&copy), [1; 7]);
        put(&mut cluster, "/core/pods/shop/web", 9, pod);
        assert!(cluster.put("/core/pods/shop/web", 10, "{".into()).is_err());
        assert_eq!(found(&cluster), [0; 7]);
    }
}
