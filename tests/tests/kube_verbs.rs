//! The verbs of kubectl that the other tests have no use for.

use conformance::{Cluster, eventually};

/// Pods that end when they are asked.
const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: { app: web }
  template:
    metadata:
      labels: { app: web }
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox:1
        command: [sleep, '1000']";

#[test]
fn a_node_is_emptied_and_taken_into_use_again() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(WEB).ok();
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    let node = cluster.kubectl("get nodes -o 'jsonpath={.items[0].metadata.name}'").ok();
    let status = || cluster.kubectl("get nodes --no-headers").ok().split_whitespace().nth(1).map(str::to_owned);
    assert_eq!(cluster.kubectl(&format!("cordon {node}")).ok(), format!("node/{node} cordoned"));
    assert_eq!(status().as_deref(), Some("Ready,SchedulingDisabled"));
    cluster.kubectl(&format!("drain {node} --timeout=50s")).ok();
    let phases = || cluster.kubectl("get pods -l app=web -o 'jsonpath={.items[*].status.phase}'").ok();
    eventually("the new pods wait", || (phases() == "Pending Pending").then_some(()));
    assert_eq!(cluster.kubectl(&format!("uncordon {node}")).ok(), format!("node/{node} uncordoned"));
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    assert_eq!(cluster.kubectl(&format!("taint nodes {node} a=b:NoSchedule")).ok(), format!("node/{node} tainted"));
    assert_eq!(cluster.kubectl(&format!("taint nodes {node} a-")).ok(), format!("node/{node} untainted"));
    assert_eq!(status().as_deref(), Some("Ready"));
}

#[test]
fn deployments_are_compared_replaced_and_restarted() {
    let Some(cluster) = Cluster::start() else { return };
    let three = WEB.replace("replicas: 2", "replicas: 3");
    assert_eq!(
        cluster.kubectl(&format!("apply --dry-run=server -f - <<'END'\n{WEB}\nEND")).ok(),
        "deployment.apps/web created (server dry run)"
    );
    cluster.kubectl("get deployment web").fails_with("deployments.apps \"web\" not found");
    cluster.apply(WEB).ok();
    let difference = cluster.kubectl(&format!("diff -f - <<'END'\n{three}\nEND"));
    assert!(difference.code == 1 && difference.out.contains("+  replicas: 3"), "{difference:?}");
    assert_eq!(cluster.kubectl(&format!("replace -f - <<'END'\n{three}\nEND")).ok(), "deployment.apps/web replaced");
    assert_eq!(
        cluster.kubectl("set resources deployment web --limits=memory=64Mi").ok(),
        "deployment.apps/web resource requirements updated"
    );
    assert_eq!(cluster.kubectl("rollout pause deployment/web").ok(), "deployment.apps/web paused");
    assert_eq!(cluster.kubectl("rollout resume deployment/web").ok(), "deployment.apps/web resumed");
    assert_eq!(cluster.kubectl("rollout restart deployment/web").ok(), "deployment.apps/web restarted");
    cluster.kubectl("rollout status deployment/web --timeout=60s").ok();
    assert_eq!(cluster.kubectl("get deployment web -o 'jsonpath={.status.readyReplicas}'").ok(), "3");
}

const SETTINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, labels: { tier: front } }
data: { colour: blue }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: another }
data: { colour: green }";

#[test]
fn objects_are_shown_in_every_form() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(SETTINGS).ok();
    for (file, text) in [
        ("colour.template", "{{.data.colour}}"),
        ("colour.path", "{.data.colour}"),
        ("colour.columns", "NAME COLOUR\nmetadata.name data.colour"),
    ] {
        cluster.host.sh(&format!("cat > /run/{file} <<'END'\n{text}\nEND")).ok();
    }
    for (form, expected) in [
        ("-o name", "configmap/settings"),
        ("-o 'go-template={{.data.colour}} {{.metadata.name}}'", "blue settings"),
        ("-o go-template-file=/run/colour.template", "blue"),
        ("-o jsonpath='{.kind} {.apiVersion}'", "ConfigMap v1"),
        ("-o jsonpath-file=/run/colour.path", "blue"),
        ("-o jsonpath-as-json='{.data}'", "[\n    {\n        \"colour\": \"blue\"\n    }\n]"),
        ("-o custom-columns=NAME:.metadata.name,COLOUR:.data.colour", "NAME       COLOUR\nsettings   blue"),
        ("-o custom-columns-file=/run/colour.columns", "NAME       COLOUR\nsettings   blue"),
        ("--no-headers -o custom-columns=:.data.colour", "blue"),
    ] {
        assert_eq!(cluster.kubectl(&format!("get configmap settings {form}")).ok(), expected, "{form}");
    }
    let json = cluster.kubectl("get configmap settings -o json").ok();
    let object: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&object["kind"], &object["data"]["colour"]), (&"ConfigMap".into(), &"blue".into()));
    let yaml = cluster.kubectl("get configmap settings -o yaml").ok();
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  colour: blue\nkind: ConfigMap\n"), "{yaml}");
    assert!(!yaml.contains("managedFields"), "{yaml}");
    let list = cluster.kubectl("get configmap -l tier -o yaml").ok();
    assert!(list.contains("\nkind: List\n"), "{list}");
    for (words, header) in [
        ("get configmap", "NAME DATA AGE"),
        ("get configmap -o wide", "NAME DATA AGE"),
        ("get configmap --show-labels", "NAME DATA AGE LABELS"),
        ("get configmap -L tier", "NAME DATA AGE TIER"),
        ("get configmap -A", "NAMESPACE NAME DATA AGE"),
        ("get configmap,secret --show-kind", "NAME DATA AGE"),
    ] {
        let shown = cluster.kubectl(words).ok();
        let columns: Vec<_> = shown.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(columns.join(" "), header, "{words}\n{shown}");
    }
    let sorted = cluster.kubectl("get configmap --sort-by=.data.colour -o name").ok();
    assert!(sorted.ends_with("configmap/settings\nconfigmap/another"), "{sorted}");
    assert!(cluster.kubectl("get configmap settings --show-kind --no-headers").ok().starts_with("configmap/settings "));
    assert_eq!(
        cluster.kubectl("get configmap settings -o jsonpath={.metadata.labels} --server-print=false").ok(),
        r#"{"tier":"front"}"#
    );
    assert!(
        cluster.kubectl("get configmap settings --server-print=false").ok().starts_with("NAME       AGE\nsettings")
    );
}

#[test]
fn a_kustomization_is_built_applied_and_deleted() {
    let Some(cluster) = Cluster::start() else { return };
    let kustomization =
        "namePrefix: my-\nresources: [settings.yaml]\nconfigMapGenerator: [{ name: made, literals: [a=b] }]";
    cluster
        .host
        .sh(&format!(
            "mkdir /run/shop; cat > /run/shop/settings.yaml <<'END'\n{SETTINGS}\nEND\ncat > /run/shop/kustomization.yaml <<'END'\n{kustomization}\nEND"
        ))
        .ok();
    assert!(cluster.kubectl("kustomize /run/shop").ok().contains("name: my-settings"));
    let applied = cluster.kubectl("apply -k /run/shop").ok();
    assert!(applied.contains("configmap/my-settings created") && applied.contains("configmap/my-made-"), "{applied}");
    assert_eq!(cluster.kubectl("get configmap my-settings -o jsonpath={.data.colour}").ok(), "blue");
    assert!(cluster.kubectl("diff -k /run/shop").ok().is_empty());
    assert!(cluster.kubectl("delete -k /run/shop").ok().contains("configmap \"my-settings\" deleted"));
}
