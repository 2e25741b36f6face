//! EndpointSlices of Services with a selector: which pods answer for them, on which ports, and for whom they are near.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::change::{Outcome, controller_of, delete};
use super::cluster::{Cluster, Object, ObjectRef};
use super::pod;
use super::selector::Selector;
use super::slices::{Frame, Group, arrange};

/// The label that names the Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that names who writes a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// The label of what belongs to a Service without address.
pub const HEADLESS: &str = "service.kubernetes.io/headless";
const SELF: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Writes the slices of one Service.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let existing = written_by(cluster, key, SELF);
    let service = cluster.get::<Service>(key.namespace(), key.name());
    let Some((service, spec)) = service.and_then(|service| Some((service, service.spec.as_ref()?))) else {
        return existing.into_iter().map(|slice| delete::<EndpointSlice>(&slice.metadata)).collect::<Vec<_>>().into();
    };
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.type_.as_deref() != Some("ExternalName")) else {
        return existing.into_iter().map(|slice| delete::<EndpointSlice>(&slice.metadata)).collect::<Vec<_>>().into();
    };
    if service.metadata.deletion_timestamp.is_some() {
        return Outcome::default();
    }
    let pods: Vec<&Pod> = match selector.is_empty() {
        true => Vec::new(),
        false => cluster.selected(key.namespace(), &Selector::pairs(selector)),
    };
    let mut groups: Vec<Group> = Vec::new();
    for family in families(spec) {
        let from = groups.len();
        for pod in &pods {
            let Some(endpoint) = endpoint(cluster, service, spec, pod, family) else { continue };
            let ports = ports(spec, pod);
            match groups[from..].iter_mut().find(|group| group.ports == ports) {
                Some(group) => group.endpoints.push(endpoint),
                None => groups.push(Group { address_type: family.into(), ports, endpoints: vec![endpoint] }),
            }
        }
        if groups.len() == from {
            groups.push(Group { address_type: family.into(), ports: Vec::new(), endpoints: Vec::new() });
        }
    }
    arrange(&frame(service, spec), &existing, &groups).into()
}

/// The slices of a Service that a controller has written.
pub fn written_by<'a>(cluster: &'a Cluster, service: &ObjectRef, controller: &str) -> Vec<&'a EndpointSlice> {
    // By the Service first: the controller has written those of all others too.
    let of_service: BTreeMap<_, _> = [(SERVICE_NAME.to_string(), service.name().to_string())].into();
    let selector = Selector::pairs(&of_service);
    let slices = cluster.selected_objects::<EndpointSlice>(service.namespace(), &selector);
    let is_of = |slice: &&Object| {
        let writer = slice.meta.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY));
        writer.is_some_and(|writer| writer == controller) && !slice.deleting()
    };
    // Those that others write are not even parsed.
    slices.filter(is_of).filter_map(Object::typed).collect()
}

/// The families of a Service, the first first.
pub fn families(spec: &ServiceSpec) -> Vec<&'static str> {
    let named = |family: &String| if family == "IPv6" { "IPv6" } else { "IPv4" };
    let families: Vec<_> = spec.ip_families.iter().flatten().map(named).collect();
    let of_address = spec.cluster_ip.as_deref().and_then(|address| address.parse::<IpAddr>().ok());
    match (families.as_slice(), of_address) {
        ([], Some(IpAddr::V6(_))) => vec!["IPv6"],
        ([], _) => vec!["IPv4"],
        _ => families,
    }
}

/// The pod's address of one family.
pub fn address<'a>(pod: &'a Pod, family: &str) -> Option<&'a str> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|address| address.ip.as_str()).chain(status.pod_ip.as_deref());
    all.into_iter().find(|address| match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => family == "IPv4",
        Ok(IpAddr::V6(_)) => family == "IPv6",
        Err(_) => false,
    })
}

/// The number that a port of a Service means on a pod.
pub fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(if *number == 0 { port.port } else { *number }),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".into());
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut ports = ports.filter(|candidate| candidate.name.as_ref() == Some(name));
    ports.find(|candidate| protocol(&candidate.protocol) == protocol(&port.protocol)).map(|found| found.container_port)
}

/// The name by which a pod is found under the Service.
pub fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let here = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|hostname| here && !hostname.is_empty())
}

/// The ports of a Service as they are on one pod; those that it does not have are left out.
pub fn ports(spec: &ServiceSpec, pod: &Pod) -> Vec<EndpointPort> {
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target_port(port, pod)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.collect()
}

fn endpoint(cluster: &Cluster, service: &Service, spec: &ServiceSpec, pod: &Pod, family: &str) -> Option<Endpoint> {
    if pod::finished(pod) {
        return None;
    }
    let address = address(pod, family)?;
    let (serving, terminating) = (pod::ready(pod), pod::terminating(pod));
    let ready = spec.publish_not_ready_addresses == Some(true) || (serving && !terminating);
    let node = pod::node(pod);
    let labels = node.and_then(|node| cluster.get::<Node>("", node)).and_then(|node| node.metadata.labels.as_ref());
    let zone = labels.and_then(|labels| labels.get(ZONE)).cloned();
    Some(Endpoint {
        addresses: vec![address.into()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: hints(spec, node, zone.as_deref()).filter(|_| ready),
        hostname: hostname(pod, service),
        node_name: node.map(Into::into),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".into()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        zone,
        deprecated_topology: None,
    })
}

fn hints(spec: &ServiceSpec, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    let for_zones = || zone.map(|zone| vec![ForZone { name: zone.into() }]);
    let for_nodes = || node.map(|node| vec![ForNode { name: node.into() }]);
    let hints = match spec.traffic_distribution.as_deref()? {
        "PreferSameNode" => EndpointHints { for_nodes: for_nodes(), for_zones: for_zones() },
        "PreferClose" | "PreferSameZone" => EndpointHints { for_nodes: None, for_zones: for_zones() },
        _ => return None,
    };
    (hints.for_nodes.is_some() || hints.for_zones.is_some()).then_some(hints)
}

fn frame(service: &Service, spec: &ServiceSpec) -> Frame {
    let meta = &service.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let mut labels = meta.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), SELF.into());
    if spec.cluster_ip.as_deref() == Some("None") {
        labels.insert(HEADLESS.into(), String::new());
    }
    let namespace = meta.namespace.clone();
    Frame { name, namespace, labels, annotations: BTreeMap::new(), owner: controller_of::<Service>(meta) }
}

#[cfg(test)]
mod tests {
    use super::super::change::ObjectChange;
    use super::*;

    /// 250 endpoints in three slices; one that goes and one that comes change one slice.
    #[test]
    fn least_change() {
        let endpoint = |number: usize| Endpoint {
            addresses: vec![format!("10.0.{}.{}", number / 200, number % 200)],
            ..Default::default()
        };
        let group = |numbers: Vec<usize>| Group {
            address_type: "IPv4".into(),
            ports: Vec::new(),
            endpoints: numbers.into_iter().map(endpoint).collect(),
        };
        let service = Service::default();
        let frame = frame(&service, &ServiceSpec::default());
        let parse = |change: &ObjectChange| match change {
            ObjectChange::Create(value) | ObjectChange::Update(value) => {
                serde_json::from_value::<EndpointSlice>(value.clone()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let made: Vec<_> = arrange(&frame, &[], &[group((0..250).collect())]).iter().map(parse).collect();
        let sizes = |slices: &[EndpointSlice]| -> Vec<_> {
            slices.iter().map(|s| s.endpoints.iter().flatten().count()).collect()
        };
        assert_eq!(sizes(&made), [100, 100, 50]);
        let existing: Vec<_> = made.iter().collect();
        assert_eq!(arrange(&frame, &existing, &[group((0..250).collect())]), []);
        let swapped = (1..251).collect();
        let changes: Vec<_> = arrange(&frame, &existing, &[group(swapped)]).iter().map(parse).collect();
        assert_eq!(sizes(&changes), [100]);
    }
}
