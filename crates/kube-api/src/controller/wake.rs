//! Which change is whose business. This is the only place that knows; a controller that reads a kind of object has its line here.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

use super::cluster::{Change, Cluster, Object, ObjectRef};
use super::selector::Selector;
use super::{Controller, Key};

/// Every key to reconcile after a change that `cluster` has taken in. At start each object is such a change, from nothing.
pub fn wakes(cluster: &Cluster, change: &Change) -> Vec<Key> {
    let mut keys = Keys::default();
    let (before, after) = (change.before.as_deref(), change.after.as_deref());
    let Some(object) = after.or(before) else { return Vec::new() };
    collect_garbage(cluster, before, after, &mut keys);
    let reference = &object.reference;
    gateway(cluster, reference, &mut keys);
    match (reference.group(), reference.resource()) {
        ("core", "pods") => pod(cluster, before, after, &mut keys),
        ("core", "nodes") => node(cluster, change, &mut keys),
        ("core", "services") => service(cluster, change, reference, &mut keys),
        ("core", "namespaces") => {
            keys.add(Controller::Namespace, reference.clone());
            keys.add(Controller::ServiceAccount, reference.clone());
        }
        ("core", "serviceaccounts") => {
            keys.add(Controller::ServiceAccount, ObjectRef::of::<Namespace>("", reference.namespace()));
        }
        ("core", "configmaps") if reference.is::<ConfigMap>() && reference.name() == super::namespace::ROOT_CA => {
            keys.add(Controller::Namespace, ObjectRef::of::<Namespace>("", reference.namespace()));
        }
        ("core", "endpoints") => {
            // Endpoints may be made before their Service; only a Service that goes takes them along.
            let service = ObjectRef::of::<Service>(reference.namespace(), reference.name());
            if cluster.object(&service).is_some() {
                keys.add(Controller::Endpoints, service);
            }
            keys.add(Controller::EndpointSliceMirroring, reference.clone());
        }
        ("discovery.k8s.io", "endpointslices") => endpoint_slice(before, after, &mut keys),
        ("apps", "deployments") => keys.add(Controller::Deployment, reference.clone()),
        ("apps", "replicasets") => replica_set(cluster, before, after, &mut keys),
        ("apps", "daemonsets") => keys.add(Controller::DaemonSet, reference.clone()),
        ("apps", "controllerrevisions") => {
            for object in [before, after].into_iter().flatten() {
                keys.owner::<DaemonSet>(cluster, object, Controller::DaemonSet);
            }
        }
        ("coordination.k8s.io", "leases") if reference.namespace() == super::node_lifecycle::LEASES => {
            keys.add(Controller::NodeLifecycle, ObjectRef::of::<Node>("", reference.name()));
        }
        ("networking.k8s.io", "ingresses") => keys.add(Controller::IngressStatus, reference.clone()),
        ("networking.k8s.io", "ingressclasses") => keys.all::<Ingress>(cluster, Controller::IngressStatus),
        _ => {}
    }
    // Whoever empties a namespace.
    if !reference.namespace().is_empty() {
        let namespace = ObjectRef::of::<Namespace>("", reference.namespace());
        if cluster.object(&namespace).is_some_and(Object::deleting) {
            keys.add(Controller::Namespace, namespace);
        }
    }
    keys.0.into_iter().collect()
}

#[derive(Default)]
struct Keys(BTreeSet<Key>);

impl Keys {
    fn add(&mut self, controller: Controller, object: ObjectRef) {
        self.0.insert(Key { controller, object });
    }

    fn all<T>(&mut self, cluster: &Cluster, controller: Controller)
    where
        T: k8s_openapi::Resource
            + k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        for object in cluster.list::<T>(None) {
            let meta = object.metadata();
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            self.add(controller, ObjectRef::of::<T>(namespace, meta.name.as_deref().unwrap_or_default()));
        }
    }

    /// The one that steers `object`, if it is of kind `T` and still the same.
    fn owner<T: k8s_openapi::Resource>(&mut self, cluster: &Cluster, object: &Object, controller: Controller) -> bool {
        let Some(owner) = object.controlled_by() else { return false };
        match cluster.by_uid(&owner.uid) {
            Some(owner) if owner.reference.is::<T>() => {
                self.add(controller, owner.reference.clone());
                true
            }
            _ => false,
        }
    }
}

/// Its objects, and what it is there for.
fn gateway(cluster: &Cluster, reference: &ObjectRef, keys: &mut Keys) {
    let Some(gateway) = &cluster.settings.gateway else { return };
    let own = gateway.service == *reference || gateway.objects.iter().any(|(own, _)| own == reference);
    if own || reference.is::<Ingress>() || reference.is::<IngressClass>() {
        keys.add(Controller::Gateway, gateway.service.clone());
    }
}

fn collect_garbage(cluster: &Cluster, before: Option<&Object>, after: Option<&Object>, keys: &mut Keys) {
    match (before, after) {
        (Some(gone), None) => {
            for dependent in cluster.owned_by(gone.uid()) {
                keys.add(Controller::GarbageCollection, dependent.reference.clone());
            }
            for owner in gone.owners() {
                keys.0.extend(
                    cluster.by_uid(&owner.uid).filter(|owner| owner.deleting()).map(|owner| Key {
                        controller: Controller::GarbageCollection,
                        object: owner.reference.clone(),
                    }),
                );
            }
        }
        (before, Some(now)) => {
            let owners_changed =
                before.is_none_or(|before| before.owners() != now.owners() || before.uid() != now.uid());
            if (owners_changed && !now.owners().is_empty()) || now.deleting() {
                keys.add(Controller::GarbageCollection, now.reference.clone());
            }
            // An owner that waits for its dependents sees one that no longer blocks it or is no longer its own.
            let was = before.map(Object::owners).unwrap_or_default();
            for owner in was.iter().filter(|_| owners_changed) {
                if let Some(owner) = cluster.by_uid(&owner.uid).filter(|owner| owner.deleting()) {
                    keys.add(Controller::GarbageCollection, owner.reference.clone());
                }
            }
        }
        (None, None) => {}
    }
}

fn pod(cluster: &Cluster, before: Option<&Object>, after: Option<&Object>, keys: &mut Keys) {
    for object in [before, after].into_iter().flatten() {
        let namespace = object.reference.namespace();
        if !keys.owner::<ReplicaSet>(cluster, object, Controller::ReplicaSet) && object.controlled_by().is_none() {
            adopters(cluster, object, keys);
        }
        keys.owner::<DaemonSet>(cluster, object, Controller::DaemonSet);
        for service in object.meta.labels.iter().flat_map(|labels| cluster.services_selecting(namespace, labels)) {
            keys.add(Controller::EndpointSlice, service.clone());
            keys.add(Controller::Endpoints, service);
        }
    }
    let gone = after.is_none();
    let replica_set = before.or(after).and_then(Object::controlled_by).and_then(|owner| cluster.by_uid(&owner.uid));
    if let Some(replica_set) = replica_set.filter(|_| gone) {
        keys.owner::<Deployment>(cluster, replica_set, Controller::Deployment);
    }
    let node = |object: Option<&Object>| {
        let pod: Option<&Pod> = object.and_then(Object::typed);
        pod.and_then(|pod| pod.spec.as_ref()?.node_name.clone()).filter(|node| !node.is_empty())
    };
    if let Some(object) = after {
        keys.add(Controller::PodGc, object.reference.clone());
        match node(after) {
            None => keys.add(Controller::Scheduler, object.reference.clone()),
            Some(node) => keys.add(Controller::NodeLifecycle, ObjectRef::of::<Node>("", &node)),
        }
    }
    // Room on a node, or another neighbour: whoever waits may fit now. One that waits itself is neither.
    let over = |object: Option<&Object>| object.and_then(Object::typed::<Pod>).is_none_or(super::pod::finished);
    let placed = node(before).is_some() || node(after).is_some();
    let moved = node(before) != node(after) || over(before) != over(after);
    let relabelled = before.map(|object| &object.meta.labels) != after.map(|object| &object.meta.labels);
    if placed && (moved || relabelled) {
        unscheduled(cluster, keys);
    }
}

/// The sets that may take in a pod that belongs to nobody.
fn adopters(cluster: &Cluster, pod: &Object, keys: &mut Keys) {
    let namespace = pod.reference.namespace();
    let Some(labels) = pod.meta.labels.as_ref().filter(|labels| !labels.is_empty()) else { return };
    for set in cluster.list::<ReplicaSet>(Some(namespace)) {
        if set.spec.as_ref().is_some_and(|spec| Selector::of(&spec.selector).matches(Some(labels))) {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            keys.add(Controller::ReplicaSet, ObjectRef::of::<ReplicaSet>(namespace, name));
        }
    }
    for set in cluster.list::<DaemonSet>(Some(namespace)) {
        if set.spec.as_ref().is_some_and(|spec| Selector::of(&spec.selector).matches(Some(labels))) {
            let name = set.metadata.name.as_deref().unwrap_or_default();
            keys.add(Controller::DaemonSet, ObjectRef::of::<DaemonSet>(namespace, name));
        }
    }
}

fn unscheduled(cluster: &Cluster, keys: &mut Keys) {
    for pod in cluster.pods_on("") {
        let meta = &pod.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        keys.add(Controller::Scheduler, ObjectRef::of::<Pod>(namespace, name));
    }
}

fn node(cluster: &Cluster, change: &Change, keys: &mut Keys) {
    let (before, after) = (change.before.as_deref(), change.after.as_deref());
    let Some(reference) = after.or(before).map(|node| node.reference.clone()) else { return };
    keys.add(Controller::NodeLifecycle, reference.clone());
    if after.is_none() {
        for pod in cluster.pods_on(reference.name()) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            keys.add(
                Controller::PodGc,
                ObjectRef::of::<Pod>(namespace, pod.metadata.name.as_deref().unwrap_or_default()),
            );
        }
    }
    // Heartbeats change nothing that placement or addresses depend on.
    if !same_to_others(before.and_then(Object::typed), after.and_then(Object::typed)) {
        unscheduled(cluster, keys);
        keys.all::<DaemonSet>(cluster, Controller::DaemonSet);
        keys.all::<Ingress>(cluster, Controller::IngressStatus);
        for service in cluster.list::<Service>(None) {
            let Some(spec) = &service.spec else { continue };
            let meta = &service.metadata;
            let service = ObjectRef::of::<Service>(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            );
            if spec.type_.as_deref() == Some("LoadBalancer") {
                keys.add(Controller::LoadBalancer, service.clone());
            }
            if spec.selector.is_some() {
                keys.add(Controller::EndpointSlice, service);
            }
        }
    }
}

fn same_to_others(before: Option<&Node>, after: Option<&Node>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return before.is_none() && after.is_none() };
    let status = |node: &Node| {
        node.status.as_ref().map(|status| {
            let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready").map(|c| c.status.clone());
            (status.addresses.clone(), status.allocatable.clone(), ready)
        })
    };
    before.metadata.labels == after.metadata.labels && before.spec == after.spec && status(before) == status(after)
}

fn service(cluster: &Cluster, change: &Change, reference: &ObjectRef, keys: &mut Keys) {
    for controller in
        [Controller::ServiceAddress, Controller::EndpointSlice, Controller::Endpoints, Controller::LoadBalancer]
    {
        keys.add(controller, reference.clone());
    }
    let endpoints = ObjectRef::of::<Endpoints>(reference.namespace(), reference.name());
    if cluster.object(&endpoints).is_some() {
        keys.add(Controller::EndpointSliceMirroring, endpoints);
    }
    if cluster.settings.gateway.as_ref().is_some_and(|gateway| gateway.service == *reference) {
        keys.all::<Ingress>(cluster, Controller::IngressStatus);
    }
    // An address or a port that has become free may be what somebody waits for.
    let had = change.before.as_ref().and_then(|before| before.typed::<Service>());
    if had.is_some_and(super::load_balancer::holds) {
        for waiting in cluster.list::<Service>(None).filter(|service| super::load_balancer::waits(service)) {
            let meta = &waiting.metadata;
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let waiting = ObjectRef::of::<Service>(namespace, meta.name.as_deref().unwrap_or_default());
            keys.add(Controller::LoadBalancer, waiting);
        }
    }
}

fn endpoint_slice(before: Option<&Object>, after: Option<&Object>, keys: &mut Keys) {
    for object in [before, after].into_iter().flatten() {
        let labels = object.meta.labels.as_ref();
        let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) else { continue };
        let namespace = object.reference.namespace();
        keys.add(Controller::EndpointSlice, ObjectRef::of::<Service>(namespace, service));
        keys.add(Controller::EndpointSliceMirroring, ObjectRef::of::<Endpoints>(namespace, service));
    }
}

fn replica_set(cluster: &Cluster, before: Option<&Object>, after: Option<&Object>, keys: &mut Keys) {
    for object in [before, after].into_iter().flatten() {
        keys.add(Controller::ReplicaSet, object.reference.clone());
        if keys.owner::<Deployment>(cluster, object, Controller::Deployment) || object.controlled_by().is_some() {
            continue;
        }
        let namespace = object.reference.namespace();
        for deployment in cluster.list::<Deployment>(Some(namespace)) {
            let selector = deployment.spec.as_ref().map(|spec| Selector::of(&spec.selector));
            if selector.is_some_and(|selector| selector.matches(object.meta.labels.as_ref())) {
                let name = deployment.metadata.name.as_deref().unwrap_or_default();
                keys.add(Controller::Deployment, ObjectRef::of::<Deployment>(namespace, name));
            }
        }
    }
}
