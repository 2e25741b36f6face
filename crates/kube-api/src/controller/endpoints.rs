//! v1 Endpoints of Services with a selector.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service, ServiceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::change::{ObjectChange, Outcome, delete, json};
use super::cluster::{Cluster, ObjectRef};
use super::endpoint_slice::{HEADLESS, address, families, hostname, ports};
use super::pod;
use super::selector::Selector;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The most addresses in one object.
const CAPACITY: usize = 1000;

/// Writes the Endpoints of one Service.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let existing = cluster.get::<Endpoints>(key.namespace(), key.name());
    let Some(service) = cluster.get::<Service>(key.namespace(), key.name()) else {
        // Leases of old clients live in Endpoints of no Service.
        let lease = "control-plane.alpha.kubernetes.io/leader";
        let own = existing.filter(|e| !e.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(lease)));
        return Vec::from_iter(own.map(|endpoints| delete::<Endpoints>(&endpoints.metadata))).into();
    };
    let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
        return Outcome::default();
    };
    let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else {
        return Outcome::default();
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Outcome::default();
    }
    let pods = cluster.selected::<Pod>(key.namespace(), &Selector::pairs(selector));
    let (subsets, over) = subsets(service, spec, &pods);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), "endpoint-controller".into());
    labels.remove(HEADLESS);
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    let mut wanted = existing.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    wanted.metadata.labels = Some(labels);
    wanted.subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    if over {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    if annotations.is_empty() {
        wanted.metadata.annotations = None;
    }
    let change = match existing {
        None => Some(ObjectChange::Create(json(&wanted))),
        Some(before) if same(before, &wanted) => None,
        Some(_) => Some(ObjectChange::Update(json(&wanted))),
    };
    Vec::from_iter(change).into()
}

/// One subset for each different set of ports, and whether some addresses found no place.
fn subsets(service: &Service, spec: &ServiceSpec, pods: &[&Pod]) -> (Vec<EndpointSubset>, bool) {
    let family = families(spec).first().copied().unwrap_or("IPv4");
    let publish = spec.publish_not_ready_addresses == Some(true);
    let mut subsets: Vec<EndpointSubset> = Vec::new();
    let mut count = 0;
    for pod in pods {
        let here = !pod::finished(pod) && (publish || !pod::terminating(pod));
        let Some(ip) = address(pod, family).filter(|_| here) else { continue };
        let ports = legacy_ports(spec, pod);
        if ports.is_empty() && spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()) {
            continue;
        }
        count += 1;
        if count > CAPACITY {
            return (subsets, true);
        }
        let index = subsets.iter().position(|subset| subset.ports.as_deref().unwrap_or_default() == ports);
        let index = index.unwrap_or_else(|| {
            subsets.push(EndpointSubset {
                ports: Some(ports).filter(|ports| !ports.is_empty()),
                ..EndpointSubset::default()
            });
            subsets.len() - 1
        });
        let subset = &mut subsets[index];
        let list = if publish || pod::ready(pod) { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(EndpointAddress {
            ip: ip.into(),
            hostname: hostname(pod, service),
            node_name: pod::node(pod).map(Into::into),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                namespace: pod.metadata.namespace.clone(),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectReference::default()
            }),
        });
    }
    (subsets, false)
}

fn legacy_ports(spec: &ServiceSpec, pod: &Pod) -> Vec<EndpointPort> {
    let ports = ports(spec, pod).into_iter().map(|port| EndpointPort {
        name: port.name.filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    });
    ports.collect()
}

fn same(a: &Endpoints, b: &Endpoints) -> bool {
    a.metadata.labels == b.metadata.labels
        && a.metadata.annotations.iter().flatten().eq(b.metadata.annotations.iter().flatten())
        && a.subsets.iter().flatten().eq(b.subsets.iter().flatten())
}
