//! The objects that are made, of the size that they have in real clusters.

use serde_json::{Value, json};

/// Endpoints of each service.
pub const ENDPOINTS: usize = 3;
/// What the addresses of endpoints begin with, and those that endpoints are changed to.
pub const ENDPOINT: u8 = 172;
pub const CHANGED: u8 = 173;

/// Where the objects of the default namespace are.
pub fn path(group: &str, plural: &str) -> String {
    match group {
        "" => format!("/api/v1/namespaces/default/{plural}"),
        _ => format!("/apis/{group}/v1/namespaces/default/{plural}"),
    }
}

/// A pod; one that nobody schedules runs nowhere.
pub fn pod(name: &str, scheduler: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app.kubernetes.io/name": "bench", "app.kubernetes.io/version": "1.0.0", "pod-template-hash": "5d59d67564" } },
        "spec": {
            "schedulerName": scheduler, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "100000"],
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }, { "name": "MODE", "value": "bench" }],
                "resources": { "requests": { "cpu": "1m", "memory": "1Mi" } },
            }],
        },
    })
}

/// A service whose endpoints others tell of.
pub fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": format!("s{number}") },
        "spec": { "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }] },
    })
}

/// Its endpoints.
pub fn slice(number: usize, endpoints: &[[u8; 4]]) -> Value {
    let endpoint =
        |[a, b, c, d]: &[u8; 4]| json!({ "addresses": [format!("{a}.{b}.{c}.{d}")], "conditions": { "ready": true } });
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": format!("s{number}"), "labels": { "kubernetes.io/service-name": format!("s{number}") } },
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
    })
}

/// The addresses of its endpoints at first.
pub fn endpoints(number: usize) -> [[u8; 4]; ENDPOINTS] {
    std::array::from_fn(|n| address(ENDPOINT, number * ENDPOINTS + n))
}

/// The address with this beginning and this number.
pub fn address(first: u8, number: usize) -> [u8; 4] {
    let [_, a, b, c] = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    [first, 16 | a, b, c]
}
