//! Tables of cases over the descriptors: what validation says of an object or of a change, what defaults it gets, and its row.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Errors, Kind, by_kind};

fn kind(name: &str) -> &'static Kind {
    let (name, group) = name.split_once('.').unwrap_or((name, ""));
    by_kind(group, name).unwrap_or_else(|| panic!("no kind {name}"))
}

fn whole(kind: &Kind, mut object: Value) -> Value {
    object["metadata"]["name"] = "web".into();
    kind.fill(&mut object);
    object
}

/// An object is filled in; then exactly this is wrong with it.
fn invalid(name: &str, object: Value, wrong: &[&str]) {
    let kind = kind(name);
    let object = whole(kind, object);
    let mut errors = Errors::default();
    kind.check(&object, None, &mut errors);
    let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    assert_eq!(told, wrong, "{object}");
}

/// Of a change exactly this is wrong.
fn refused(name: &str, old: Value, new: Value, wrong: &[&str]) {
    let kind = kind(name);
    let (old, new) = (whole(kind, old), whole(kind, new));
    let mut errors = Errors::default();
    (kind.validate_update)(&new, &old, &mut errors);
    let told: Vec<String> =
        errors.0.iter().map(|e| e.to_string().lines().next().unwrap_or_default().to_owned()).collect();
    assert_eq!(told, wrong);
}

/// The cells of an object's row.
fn row(name: &str, object: Value, cells: Value) {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().expect("a time");
    let kind = kind(name);
    let told: Vec<Value> = kind.columns.iter().map(|column| (column.cell)(&object, now)).collect();
    assert_eq!(Value::from(told), cells, "{name}");
}

fn pod(spec: Value) -> Value {
    json!({ "spec": spec })
}

fn container(with: Value) -> Value {
    let mut container = json!({ "name": "a", "image": "i" });
    for (field, value) in with.as_object().expect("fields") {
        container[field] = value.clone();
    }
    pod(json!({ "containers": [container] }))
}

#[test]
fn pods_are_validated() {
    invalid("Pod", container(json!({})), &[]);
    invalid("Pod", pod(json!({ "containers": [] })), &["spec.containers: Required value"]);
    invalid("Pod", container(json!({ "image": "" })), &["spec.containers[0].image: Required value"]);
    invalid(
        "Pod",
        pod(json!({ "containers": [{ "name": "a", "image": "i" }, { "name": "a", "image": "i" }] })),
        &["spec.containers[1].name: Duplicate value: \"a\""],
    );
    invalid(
        "Pod",
        container(json!({ "ports": [{ "containerPort": 70000 }] })),
        &["spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    );
    invalid(
        "Pod",
        container(json!({ "ports": [{ "containerPort": 80, "protocol": "ICMP" }] })),
        &[
            "spec.containers[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
    invalid(
        "Pod",
        container(json!({ "volumeMounts": [{ "name": "data", "mountPath": "/d" }] })),
        &["spec.containers[0].volumeMounts[0].name: Not found: \"data\""],
    );
    invalid(
        "Pod",
        container(json!({ "resources": { "requests": { "cpu": "2" }, "limits": { "cpu": "1" } } })),
        &["spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"],
    );
    invalid(
        "Pod",
        container(json!({ "livenessProbe": { "tcpSocket": { "port": 80 }, "successThreshold": 2 } })),
        &["spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1"],
    );
    invalid(
        "Pod",
        container(json!({ "readinessProbe": {} })),
        &["spec.containers[0].readinessProbe: Required value: must specify a handler type"],
    );
    invalid(
        "Pod",
        pod(json!({ "containers": [{ "name": "a", "image": "i" }], "dnsPolicy": "None" })),
        &[
            "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
        ],
    );
    invalid(
        "Pod",
        container(json!({ "env": [{ "name": "a", "valueFrom": { "fieldRef": { "fieldPath": "spec.x" } } }] })),
        &["spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.x\": supported values: \
           \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \
           \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""],
    );
    invalid(
        "Pod",
        pod(
            json!({ "containers": [{ "name": "a", "image": "i" }], "volumes": [{ "name": "v", "emptyDir": {}, "hostPath": { "path": "/" } }] }),
        ),
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
}

#[test]
fn little_of_a_pod_changes() {
    let told = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
    let with = |image: &str, tty: bool| container(json!({ "image": image, "tty": tty, "imagePullPolicy": "Always" }));
    refused("Pod", with("a", false), with("b", false), &[]);
    refused("Pod", with("a", false), with("a", true), &[told]);
    let two = pod(json!({ "containers": [{ "name": "a" }, { "name": "b" }] }));
    refused(
        "Pod",
        with("a", false),
        two,
        &["spec.containers: Forbidden: pod updates may not add or remove containers"],
    );
}

#[test]
fn services_are_validated() {
    let service = |spec: Value| json!({ "spec": spec });
    invalid("Service", service(json!({ "ports": [{ "port": 80 }] })), &[]);
    invalid("Service", service(json!({ "clusterIP": "None" })), &[]);
    invalid("Service", service(json!({})), &["spec.ports: Required value"]);
    invalid(
        "Service",
        service(json!({ "ports": [{ "port": 70000, "targetPort": 80 }] })),
        &["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    );
    invalid(
        "Service",
        service(json!({ "ports": [{ "port": 80 }, { "port": 81 }] })),
        &["spec.ports[0].name: Required value", "spec.ports[1].name: Required value"],
    );
    invalid(
        "Service",
        service(json!({ "ports": [{ "port": 80, "nodePort": 30000 }] })),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    invalid(
        "Service",
        service(json!({ "type": "Foo", "ports": [{ "port": 80 }] })),
        &[
            "spec.type: Unsupported value: \"Foo\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ],
    );
    let at = |ip: &str| service(json!({ "clusterIP": ip, "clusterIPs": [ip], "ports": [{ "port": 80 }] }));
    let wrong = "spec.clusterIPs[0]: Invalid value: [\"10.96.0.2\"]: may not change once set";
    refused("Service", at("10.96.0.1"), at("10.96.0.2"), &[wrong]);
}

#[test]
fn workloads_are_validated() {
    let deployment = |labels: Value, more: Value| {
        let pods =
            json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "a", "image": "i" }] } });
        let mut spec = json!({ "selector": { "matchLabels": { "app": "web" } }, "template": pods });
        for (field, value) in more.as_object().expect("fields") {
            spec[field] = value.clone();
        }
        json!({ "spec": spec })
    };
    let check = |object: Value, wrong: &[&str]| invalid("Deployment.apps", object, wrong);
    check(deployment(json!({ "app": "web" }), json!({})), &[]);
    check(
        deployment(json!({ "app": "other" }), json!({})),
        &[
            "spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: `selector` does not match template `labels`",
        ],
    );
    check(json!({ "spec": {} }), &["spec.selector: Required value", "spec.template: Required value"]);
    check(
        deployment(json!({ "app": "web" }), json!({ "replicas": -1 })),
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        deployment(json!({ "app": "web" }), json!({ "strategy": { "type": "Recreate", "rollingUpdate": {} } })),
        &["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    );
    check(
        deployment(
            json!({ "app": "web" }),
            json!({ "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": 0 } } }),
        ),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    let other = json!({ "selector": { "matchLabels": { "app": "x" } } });
    refused(
        "Deployment.apps",
        deployment(json!({}), json!({})),
        deployment(json!({}), other),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\"}}: field is immutable"],
    );
}

#[test]
fn the_others_are_validated() {
    invalid(
        "Ingress.networking.k8s.io",
        json!({ "spec": {} }),
        &["spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"],
    );
    let path = |path: &str| {
        let backend = json!({ "service": { "name": "web", "port": { "number": 80 } } });
        json!({ "spec": { "rules": [{ "http": { "paths": [{ "path": path, "pathType": "Prefix", "backend": backend }] } }] } })
    };
    invalid("Ingress.networking.k8s.io", path("/"), &[]);
    invalid(
        "Ingress.networking.k8s.io",
        path("x"),
        &["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"],
    );
    invalid(
        "Secret",
        json!({ "type": "kubernetes.io/tls", "data": { "tls.crt": "" } }),
        &["data[tls.key]: Required value"],
    );
    let frozen = |text: &str| json!({ "immutable": true, "data": { "a": text } });
    refused("ConfigMap", frozen("x"), frozen("y"), &["data: Forbidden: field is immutable when `immutable` is set"]);
    invalid(
        "EndpointSlice.discovery.k8s.io",
        json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["fe80::1"] }] }),
        &["endpoints[0].addresses[0]: Invalid value: \"fe80::1\": must be a valid IPv4 address"],
    );
}

#[test]
fn rows_are_those_of_kubectl() {
    let old = json!({ "name": "web", "creationTimestamp": "2026-01-01T00:00:00Z" });
    row(
        "Service",
        json!({ "metadata": old, "spec": { "type": "NodePort", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
                "selector": { "app": "web" }, "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }] } }),
        json!(["web", "NodePort", "10.96.0.7", "<none>", "80:30080/TCP", "10m", "app=web"]),
    );
    row(
        "Deployment.apps",
        json!({ "metadata": old, "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } },
                "template": { "spec": { "containers": [{ "name": "a", "image": "i:1" }, { "name": "b", "image": "j" }] } } },
                "status": { "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1 } }),
        json!(["web", "2/3", 3, 1, "10m", "a,b", "i:1,j", "app=web"]),
    );
    row(
        "Node",
        json!({ "metadata": { "name": "web", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": { "node-role.kubernetes.io/control-plane": "" } }, "spec": { "unschedulable": true },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }], "nodeInfo": { "kubeletVersion": "v1.36.0" },
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }] } }),
        json!([
            "web",
            "Ready,SchedulingDisabled",
            "control-plane",
            "10m",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>"
        ]),
    );
    row(
        "Endpoints",
        json!({ "metadata": old, "subsets": [{ "addresses": [{ "ip": "10.0.0.1" }, { "ip": "10.0.0.2" }], "ports": [{ "port": 80 }, { "port": 81 }] }] }),
        json!(["web", "10.0.0.1:80,10.0.0.2:80,10.0.0.1:81 + 1 more...", "10m"]),
    );
    row(
        "Ingress.networking.k8s.io",
        json!({ "metadata": old, "spec": { "rules": [{ "host": "a.b" }], "tls": [{}] } }),
        json!(["web", "<none>", "a.b", "", "80, 443", "10m"]),
    );
    row("ConfigMap", json!({ "metadata": old, "data": { "a": "" } }), json!(["web", 1, "10m"]));
}
