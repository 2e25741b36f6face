//! Objects that cannot come to anything, or are much too large, each in its own way: they harm themselves only.

use std::fs;

use conformance::{Cluster, eventually, eventually_fits};
use serde_json::{Value, json};

use crate::{deploy, until_served};

#[test]
fn poisoned_objects_harm_themselves_only() {
    let Some(cluster) = Cluster::start() else { return };
    deploy(&cluster);
    for (name, _, spec) in pods() {
        let labels = json!({ "app": if name == "serves" { "many" } else { "none" } });
        let metadata = json!({ "name": name, "labels": labels });
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        create(&cluster, &pod).ok();
    }
    for object in others() {
        create(&cluster, &object).ok();
    }
    create(&cluster, &labelled("large", 20_000)).ok();
    create(&cluster, &labelled("huge", 300_000)).fails_with("Request entity too large: limit is 3145728");
    for (name, shown, _) in pods() {
        let column = || cluster.kubectl(&format!("get pod {name} --no-headers")).out;
        let fits = |row: &str| row.split_whitespace().nth(2).is_some_and(|found| shown.contains(&found));
        eventually_fits(&format!("{name} is one of {shown:?}"), column, fits);
    }
    cluster.until_told("broken", "NotServed secret broken: the certificate is not PEM");
    // Everything else is as ever: the deployment is updated, serves by its service and by an Ingress, and a pod runs to its end.
    cluster.kubectl("set env deployment/web VERSION=2").ok();
    cluster.kubectl("rollout status deployment/web --timeout=50s").ok();
    until_served(&cluster, "2");
    cluster.kubectl("create ingress web --rule=web.local/*=web:80").ok();
    let by_gateway = || cluster.host.outside("curl -sf -m 5 -H Host:web.local http://192.0.2.1:8080/").out;
    eventually_fits("the Ingress serves", by_gateway, |answer| answer.trim() == "2");
    cluster.kubectl("run well --image=busybox:1 --restart=Never -- true").ok();
    cluster.kubectl("wait --for=jsonpath={.status.phase}=Succeeded pod/well --timeout=50s").ok();
    // The service with many ports is a service, to its last port.
    let address = cluster.kubectl("get service many -o jsonpath={.spec.clusterIP}").ok();
    eventually("its last port serves", || {
        (cluster.host.sh(&format!("curl -s -m 5 -o /dev/null http://{address}:10000/")).code == 0).then_some(())
    });
    // They go when they are asked to, but for the one that somebody keeps.
    cluster.kubectl("delete service many").ok();
    cluster.kubectl("delete pod --all --timeout=50s").ok();
    cluster.kubectl("delete configmap kept --wait=false").ok();
    assert_ne!(cluster.kubectl("get configmap kept -o 'jsonpath={.metadata.deletionTimestamp}'").ok(), "");
    cluster.kubectl("patch configmap kept --type=merge -p '{\"metadata\":{\"finalizers\":null}}'").ok();
    cluster.kubectl("get configmap kept").fails_with("not found");
}

/// By a file, since it may be large.
fn create(cluster: &Cluster, object: &Value) -> conformance::Said {
    let file = cluster.host.path().join("object.json");
    fs::write(&file, object.to_string()).expect("a file");
    cluster.kubectl(&format!("create -f {}", file.display()))
}

/// Pods: their names, what the column STATUS comes to say, and what they are.
fn pods() -> Vec<(&'static str, &'static [&'static str], Value)> {
    let one = |more: Value| {
        let mut container = json!({ "name": "a", "image": "busybox:1", "command": ["sleep", "1000"] });
        for (field, value) in more.as_object().into_iter().flatten() {
            container[field] = value.clone();
        }
        json!({ "terminationGracePeriodSeconds": 1, "containers": [container] })
    };
    let with = |field: &str, value: Value| {
        let mut spec = one(json!({}));
        spec[field] = value;
        spec
    };
    let doubled = |n: u32| json!({ "name": format!("V{n}"), "value": format!("$(V{0})$(V{0})", n.saturating_sub(1)) });
    let variables = [json!({ "name": "V0", "value": "xxxx" })].into_iter().chain((1..60).map(doubled));
    let circle = json!([{ "name": "A", "value": "$(B)" }, { "name": "B", "value": "$(A)" }]);
    vec![
        ("no-image", &["ErrImagePull", "ImagePullBackOff"], one(json!({ "image": "registry.invalid/none:1" }))),
        ("odd-image", &["InvalidImageName"], one(json!({ "image": "Not An Image" }))),
        (
            "never-begins",
            &["Init:0/1"],
            with("initContainers", json!([{ "name": "i", "image": "busybox:1", "command": ["sleep", "1000"] }])),
        ),
        ("ends", &["Error", "CrashLoopBackOff"], one(json!({ "command": ["false"] }))),
        ("no-program", &["RunContainerError", "StartError", "CrashLoopBackOff"], one(json!({ "command": ["/none"] }))),
        (
            "no-map",
            &["CreateContainerConfigError"],
            one(json!({ "envFrom": [{ "configMapRef": { "name": "none" } }] })),
        ),
        (
            "no-volume",
            &["ContainerCreating"],
            with("volumes", json!([{ "name": "v", "secret": { "secretName": "none" } }])),
        ),
        ("too-large", &["Pending"], one(json!({ "resources": { "requests": { "cpu": "9000" } } }))),
        ("grows", &["CreateContainerConfigError"], one(json!({ "env": variables.collect::<Value>() }))),
        ("serves", &["Running"], one(json!({ "command": ["httpd", "-f", "-p", "8080"] }))),
        ("circles", &["Running"], one(json!({ "env": circle }))),
    ]
}

/// A service with 10,000 ports; an Ingress whose certificate is none; and what leads nowhere.
fn others() -> [Value; 5] {
    let ports: Value =
        (1..=10_000).map(|n| json!({ "name": format!("p{n}"), "port": n, "targetPort": 8080 })).collect();
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": { "service": { "name": "none", "port": { "number": 80 } } } });
    [
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "many" }, "spec": { "selector": { "app": "many" }, "ports": ports } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "nowhere" }, "spec": { "selector": { "app": "nowhere" }, "ports": [{ "port": 80 }] } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "broken" }, "type": "kubernetes.io/tls", "stringData": { "tls.crt": "none", "tls.key": "none" } }),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "broken" }, "spec": { "tls": [{ "hosts": ["a.local"], "secretName": "broken" }], "rules": [{ "host": "a.local", "http": { "paths": [path] } }] } }),
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "kept", "finalizers": ["example.com/nobody"] } }),
    ]
}

/// A pod with so many labels.
fn labelled(name: &str, count: u32) -> Value {
    let labels: serde_json::Map<_, _> = (0..count).map(|n| (format!("k{n}"), Value::from("v"))).collect();
    let container = json!({ "name": "a", "image": "busybox:1", "command": ["sleep", "1000"] });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels }, "spec": { "terminationGracePeriodSeconds": 1, "containers": [container] } })
}
