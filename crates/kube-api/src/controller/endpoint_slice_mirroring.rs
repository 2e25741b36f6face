//! EndpointSlices of Services without a selector: what somebody wrote into their Endpoints, in the form that the nodes read.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};

use super::change::{Outcome, controller_of, delete};
use super::cluster::{Cluster, ObjectRef};
use super::endpoint_slice::{MANAGED_BY, SERVICE_NAME, written_by};
use super::slices::{Frame, Group, arrange};

const SELF: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const NOT_COPIED: [&str; 2] =
    ["kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"];
/// The most addresses that are taken from one subset.
const CAPACITY: usize = 1000;

/// Writes the slices of one Endpoints object.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let existing = written_by(cluster, key, SELF);
    let Some(endpoints) = mirrored(cluster, key) else {
        return existing.into_iter().map(|slice| delete::<EndpointSlice>(&slice.metadata)).collect::<Vec<_>>().into();
    };
    let mut groups = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        for family in ["IPv4", "IPv6"] {
            let found = addresses(subset, family);
            if !found.is_empty() {
                groups.push(Group { address_type: family.into(), ports: ports(subset), endpoints: found });
            }
        }
    }
    arrange(&frame(endpoints), &existing, &groups).into()
}

/// The Endpoints, if there is a Service for them whose endpoints nobody else writes.
fn mirrored<'a>(cluster: &'a Cluster, key: &ObjectRef) -> Option<&'a Endpoints> {
    let endpoints = cluster.get::<Endpoints>(key.namespace(), key.name())?;
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let lease = meta.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LEADER));
    let service = cluster.get::<Service>(key.namespace(), key.name())?;
    let selects = service.spec.as_ref().is_some_and(|spec| spec.selector.as_ref().is_some_and(|s| !s.is_empty()));
    (!skipped && !lease && !selects && meta.deletion_timestamp.is_none()).then_some(endpoints)
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten().map(|port| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
        app_protocol: port.app_protocol.clone(),
    });
    ports.collect()
}

fn addresses(subset: &EndpointSubset, family: &str) -> Vec<Endpoint> {
    let of_family = |address: &&EndpointAddress| match address.ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    };
    let endpoint = |address: &EndpointAddress, ready: bool| Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    let ready = subset.addresses.iter().flatten().filter(of_family).map(|address| endpoint(address, true));
    let other = subset.not_ready_addresses.iter().flatten().filter(of_family).map(|address| endpoint(address, false));
    ready.chain(other).take(CAPACITY).collect()
}

fn frame(endpoints: &Endpoints) -> Frame {
    let meta = &endpoints.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), SELF.into());
    let mut annotations = meta.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| !NOT_COPIED.contains(&name.as_str()));
    Frame { name, namespace: meta.namespace.clone(), labels, annotations, owner: controller_of::<Endpoints>(meta) }
}
