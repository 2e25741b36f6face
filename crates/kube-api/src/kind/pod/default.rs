//! The defaults of pods and pod templates that the schema cannot say.

use serde_json::{Value, json};

use crate::{
    kind::strategy::{fill, list_mut},
    object::Look,
};

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The defaults of a pod.
pub fn pod(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    pod_spec(spec);
    fill(spec, "enableServiceLinks", true);
    for kind in CONTAINERS {
        list_mut(spec, kind).for_each(requests);
    }
}

/// The defaults of a pod template's pods: all but what only a pod itself gets.
pub fn pod_spec(spec: &mut Value) {
    // Either name of the account tells the other.
    match (spec.text("serviceAccountName").to_owned(), spec.text("serviceAccount").to_owned()) {
        (name, old) if name.is_empty() && !old.is_empty() => spec.put("serviceAccountName", old),
        (name, old) if !name.is_empty() && old != name => spec.put("serviceAccount", name),
        _ => {}
    }
    let on_host = spec.is("hostNetwork");
    for kind in CONTAINERS {
        for container in list_mut(spec, kind) {
            fill_container(container, on_host);
        }
    }
    for constraint in list_mut(spec, "topologySpreadConstraints") {
        fill(constraint, "nodeAffinityPolicy", "Honor");
        fill(constraint, "nodeTaintsPolicy", "Ignore");
    }
    list_mut(spec, "volumes").for_each(volume);
}

fn fill_container(container: &mut Value, on_host: bool) {
    if container.text("imagePullPolicy").is_empty() {
        let policy = if is_latest(container.text("image")) { "Always" } else { "IfNotPresent" };
        container.put("imagePullPolicy", policy);
    }
    fill(container, "resources", json!({}));
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.at_mut(kind) {
            fill_probe(probe);
        }
    }
    if on_host {
        for port in list_mut(container, "ports") {
            if port.int("hostPort").unwrap_or_default() == 0
                && let Some(number) = port.int("containerPort")
            {
                port.put("hostPort", number);
            }
        }
    }
}

// Zero counts as left out.
fn fill_probe(probe: &mut Value) {
    for (field, default) in
        [("periodSeconds", 10), ("timeoutSeconds", 1), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.int(field).unwrap_or_default() == 0 {
            probe.put(field, default);
        }
    }
}

fn volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |fields| fields.keys().filter(|name| *name != "name").count());
    if sources == 0 {
        volume.put("emptyDir", json!({}));
    }
    if volume.at("image").is_some() {
        let policy = if is_latest(volume.text("image.reference")) { "Always" } else { "IfNotPresent" };
        fill(volume, "image.pullPolicy", policy);
    }
}

// What is limited is set aside, unless less is asked for.
fn requests(container: &mut Value) {
    let Some(limits) = container.map("resources.limits").cloned() else { return };
    let mut requests = container.map("resources.requests").cloned().unwrap_or_default();
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
    container.put("resources.requests", requests);
}

/// Whether an image's reference means the newest: by the tag `latest`, or by neither tag nor digest.
fn is_latest(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or(image);
    !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kind, schema};

    #[test]
    fn pods_are_filled_in() {
        let check = |spec: Value, at: &str, filled: Value| {
            let mut object = json!({ "spec": spec });
            schema::fill_defaults(super::super::KIND.schema(), &mut object);
            pod(&mut object);
            assert_eq!(object.pointer(at).cloned().unwrap_or_default(), filled, "{at} of {object}");
        };
        let with = |image: &str| json!({ "containers": [{ "name": "a", "image": image }] });
        let policy = "/spec/containers/0/imagePullPolicy";
        check(with("busybox"), policy, json!("Always"));
        check(with("busybox:latest"), policy, json!("Always"));
        check(with("busybox:1"), policy, json!("IfNotPresent"));
        check(with("host:5000/busybox"), policy, json!("Always"));
        check(with("busybox@sha256:00"), policy, json!("IfNotPresent"));
        check(with("a"), "/spec/enableServiceLinks", json!(true));
        check(with("a"), "/spec/restartPolicy", json!("Always"));
        check(with("a"), "/spec/securityContext", json!({}));
        check(with("a"), "/spec/containers/0/terminationMessagePath", json!("/dev/termination-log"));
        check(
            json!({ "containers": [{ "resources": { "limits": { "cpu": "1" } } }] }),
            "/spec/containers/0/resources/requests",
            json!({ "cpu": "1" }),
        );
        check(
            json!({ "containers": [{ "livenessProbe": { "httpGet": { "port": 80 }, "periodSeconds": 0 } }] }),
            "/spec/containers/0/livenessProbe",
            json!({ "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" }, "periodSeconds": 10, "timeoutSeconds": 1,
                    "successThreshold": 1, "failureThreshold": 3 }),
        );
        check(
            json!({ "hostNetwork": true, "containers": [{ "ports": [{ "containerPort": 80 }] }] }),
            "/spec/containers/0/ports/0",
            json!({ "containerPort": 80, "hostPort": 80, "protocol": "TCP" }),
        );
        check(json!({ "serviceAccount": "x" }), "/spec/serviceAccountName", json!("x"));
        check(json!({ "volumes": [{ "name": "a" }] }), "/spec/volumes/0/emptyDir", json!({}));
        assert!(kind::by_kind("", "Pod").is_some());
    }
}
