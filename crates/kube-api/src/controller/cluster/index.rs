//! By what an object is found besides its key: its uid, kind, namespace, owners and labels, and what its `spec` says of nodes, selectors,
//! addresses and ports. Each is an entry `KIND-OF-INDEX NUL WHAT NUL KEY`.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Object, ObjectRef};

/// What is found by something in `spec`: pods by node, Services by selector, address and port. None of it need be of the right type.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    node_name: serde_json::Value,
    selector: serde_json::Value,
    #[serde(rename = "clusterIP")]
    cluster_ip: serde_json::Value,
    #[serde(rename = "clusterIPs")]
    cluster_ips: serde_json::Value,
    ports: serde_json::Value,
    health_check_node_port: serde_json::Value,
}

/// Every entry of the index under which an object is found.
pub fn entries(object: &Object) -> Vec<String> {
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

/// The entries that something in `spec` gives, without their keys.
pub fn found_by(reference: &ObjectRef, spec: &Spec) -> Vec<String> {
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
