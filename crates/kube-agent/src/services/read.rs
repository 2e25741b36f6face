//! What Services and EndpointSlices mean to the model. What is wrong with an object harms that object only.

use k8s_openapi::{
    api::{
        core::v1 as core,
        discovery::v1::{self as discovery, Endpoint},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use model::{
    port::Protocol,
    service::{
        Affinity, Backend, Condition, EndpointSlice, Meant, NamespacedName, Place, ServicePort, ServiceWish, SlicePort,
        TrafficPolicy, Unready,
    },
};

use super::told;

/// Others serve the services that name them here.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
/// Whose slice it is.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The zone of a node.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// Who asks for the endpoints.
pub struct Node {
    pub name: String,
    pub zone: Option<String>,
}

/// The name of an object.
pub fn name_of(metadata: &ObjectMeta) -> NamespacedName {
    NamespacedName::new(metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

/// What a service asks for; none for one that somebody else serves.
pub fn wish(service: told::Service) -> Option<ServiceWish> {
    if service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME)) {
        return None;
    }
    let spec = service.spec.unwrap_or_default();
    let local = |policy: &Option<String>| match policy.as_deref() {
        Some("Local") => TrafficPolicy::Local,
        _ => TrafficPolicy::Cluster,
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    let addresses = |texts: &Option<Vec<String>>| texts.iter().flatten().filter_map(|text| text.parse().ok()).collect();
    let balancers =
        service.status.iter().flat_map(|status| &status.load_balancer).flat_map(|balancer| &balancer.ingress);
    let balancers = balancers.flatten().filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"));
    let balancer_addresses = balancers.filter_map(|ingress| ingress.ip.as_ref()?.parse().ok());
    let affinity = match spec.session_affinity.as_deref() {
        Some("ClientIP") => {
            let config = spec.session_affinity_config.and_then(|config| config.client_ip);
            let timeout_s = config.and_then(|client| client.timeout_seconds).and_then(|s| u32::try_from(s).ok());
            Affinity::ClientIp { timeout_s: timeout_s.unwrap_or(10_800) }
        }
        _ => Affinity::None,
    };
    Some(ServiceWish {
        name: name_of(&service.metadata),
        cluster_addresses: if kind == "ExternalName" { Vec::new() } else { addresses(&spec.cluster_ips) },
        external_addresses: addresses(&spec.external_ips),
        balancer_addresses: if kind == "LoadBalancer" { balancer_addresses.collect() } else { Vec::new() },
        balancer_sources: addresses_of_sources(&spec.load_balancer_source_ranges),
        ports: spec.ports.into_iter().flatten().filter_map(port).collect(),
        affinity,
        internal: local(&spec.internal_traffic_policy),
        external: local(&spec.external_traffic_policy),
        health_check_port: spec.health_check_node_port.and_then(number).filter(|port| *port != 0),
        unready: if spec.publish_not_ready_addresses == Some(true) { Unready::Served } else { Unready::LeftOut },
        external_name: spec.external_name.filter(|_| kind == "ExternalName"),
    })
}

fn addresses_of_sources(ranges: &Option<Vec<String>>) -> Vec<ipnet::IpNet> {
    ranges.iter().flatten().filter_map(|range| range.trim().parse().ok()).collect()
}

fn port(port: core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.unwrap_or_default(),
        protocol: protocol(port.protocol.as_deref())?,
        port: number(port.port)?,
        node_port: port.node_port.and_then(number).filter(|port| *port != 0),
    })
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok()
}

fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// What a slice says; none for one that belongs to no service, or has names for addresses.
pub fn slice(slice: told::EndpointSlice, node: &Node) -> Option<EndpointSlice> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    if slice.address_type == "FQDN" {
        return None;
    }
    let port = |port: discovery::EndpointPort| {
        Some(SlicePort {
            name: port.name.unwrap_or_default(),
            protocol: protocol(port.protocol.as_deref())?,
            port: number(port.port?)?,
        })
    };
    Some(EndpointSlice {
        name: name_of(&slice.metadata),
        service: NamespacedName::new(slice.metadata.namespace.as_deref().unwrap_or_default(), service),
        ports: slice.ports.into_iter().flatten().filter_map(port).collect(),
        endpoints: slice.endpoints.into_iter().flatten().filter_map(|endpoint| backend(endpoint, node)).collect(),
    })
}

/// The first address counts (the EndpointSlice page: consumers use only that).
fn backend(endpoint: Endpoint, node: &Node) -> Option<Backend> {
    let conditions = endpoint.conditions.unwrap_or_default();
    let condition = if conditions.ready.unwrap_or(true) {
        Condition::Ready
    } else if conditions.serving == Some(true) && conditions.terminating == Some(true) {
        Condition::Draining
    } else {
        Condition::Unready
    };
    let hints = endpoint.hints.unwrap_or_default();
    let nodes: Vec<_> = hints.for_nodes.into_iter().flatten().map(|hint| hint.name).collect();
    let zones: Vec<_> = hints.for_zones.into_iter().flatten().map(|hint| hint.name).collect();
    let of_zone = zones.is_empty() || node.zone.as_ref().is_none_or(|zone| zones.contains(zone));
    let meant =
        if (nodes.is_empty() || nodes.contains(&node.name)) && of_zone { Meant::ForUs } else { Meant::ForOthers };
    Some(Backend {
        address: endpoint.addresses.first()?.parse().ok()?,
        condition,
        place: if endpoint.node_name.as_ref() == Some(&node.name) { Place::Here } else { Place::Elsewhere },
        meant,
        hostname: endpoint.hostname,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn services_mean() {
        let check = |spec: Value, status: Value, expected: Value| {
            let object = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": spec, "status": status });
            let service: told::Service = serde_json::from_value(object).expect("a service");
            let mut whole = json!({ "name": "shop/web", "cluster_addresses": [], "ports": [] });
            for (field, value) in expected.as_object().expect("fields") {
                whole[field] = value.clone();
            }
            assert_eq!(serde_json::to_value(wish(service)).expect("JSON"), whole);
        };
        check(json!({ "clusterIPs": ["None"] }), json!({}), json!({}));
        check(
            json!({
                "type": "LoadBalancer", "clusterIPs": ["10.96.0.7", "fd00::7"], "sessionAffinity": "ClientIP",
                "ports": [{ "name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": 30999, "loadBalancerSourceRanges": ["192.0.2.0/24"],
                "publishNotReadyAddresses": true,
            }),
            json!({ "loadBalancer": { "ingress": [{ "ip": "198.51.100.1" }, { "ip": "198.51.100.2", "ipMode": "Proxy" }] } }),
            json!({
                "cluster_addresses": ["10.96.0.7", "fd00::7"], "balancer_addresses": ["198.51.100.1"],
                "balancer_sources": ["192.0.2.0/24"], "affinity": { "ClientIp": { "timeout_s": 10800 } },
                "ports": [
                    { "name": "http", "protocol": "tcp", "port": 80, "node_port": 30080 },
                    { "protocol": "udp", "port": 53 },
                ],
                "external": "Local", "health_check_port": 30999, "unready": "Served",
            }),
        );
        check(
            json!({ "type": "ExternalName", "externalName": "example.com" }),
            json!({}),
            json!({ "external_name": "example.com" }),
        );
    }

    #[test]
    fn endpoints_mean() {
        let node = Node { name: "here".to_owned(), zone: Some("a".to_owned()) };
        let check = |endpoint: Value, expected: Option<(Condition, Place, Meant)>| {
            let endpoint: Endpoint = serde_json::from_value(endpoint).expect("an endpoint");
            assert_eq!(backend(endpoint, &node).map(|b| (b.condition, b.place, b.meant)), expected);
        };
        let at = json!(["10.244.0.7"]);
        check(json!({ "addresses": at }), Some((Condition::Ready, Place::Elsewhere, Meant::ForUs)));
        check(
            json!({ "addresses": at, "nodeName": "here", "conditions": { "ready": false, "serving": true, "terminating": true } }),
            Some((Condition::Draining, Place::Here, Meant::ForUs)),
        );
        check(
            json!({ "addresses": at, "conditions": { "ready": false, "serving": true } }),
            Some((Condition::Unready, Place::Elsewhere, Meant::ForUs)),
        );
        check(
            json!({ "addresses": at, "hints": { "forZones": [{ "name": "b" }] } }),
            Some((Condition::Ready, Place::Elsewhere, Meant::ForOthers)),
        );
        check(
            json!({ "addresses": at, "hints": { "forNodes": [{ "name": "here" }] } }),
            Some((Condition::Ready, Place::Elsewhere, Meant::ForUs)),
        );
        check(json!({ "addresses": ["nowhere"] }), None);
    }
}
