//! Objects of the Kubernetes API, with the real kubectl.

use conformance::{Cluster, Host};

#[test]
fn objects_are_made_read_changed_and_deleted() {
    let Some(cluster) = Cluster::start() else { return };
    let check = |words: &str, expected: &str| assert_eq!(cluster.kubectl(words).ok(), expected, "kubectl {words}");
    check("create configmap settings --from-literal=colour=blue", "configmap/settings created");
    check("get configmap settings -o jsonpath={.data.colour}", "blue");
    check("patch configmap settings -p '{\"data\":{\"colour\":\"red\"}}'", "configmap/settings patched");
    check(
        "patch configmap settings --type json -p '[{\"op\":\"add\",\"path\":\"/data/size\",\"value\":\"3\"}]'",
        "configmap/settings patched",
    );
    check("get configmap settings -o jsonpath={.data}", "{\"colour\":\"red\",\"size\":\"3\"}");
    check("label configmap settings tier=front", "configmap/settings labeled");
    check("get configmap -l tier=front -o name", "configmap/settings");
    check("get configmap --field-selector metadata.name=other -o name", "");
    check("annotate configmap settings note=yes", "configmap/settings annotated");
    check("create secret generic key --from-literal=password=x", "secret/key created");
    check("get secret key -o jsonpath={.data.password}", "eA==");
    check("create namespace shop", "namespace/shop created");
    check("-n shop create configmap settings --from-literal=a=b", "configmap/settings created");
    check("get configmap -A -o name --field-selector metadata.name=settings", "configmap/settings\nconfigmap/settings");
    check("delete configmap settings", "configmap \"settings\" deleted");
    cluster
        .kubectl("get configmap settings")
        .fails_with("Error from server (NotFound): configmaps \"settings\" not found");
    cluster.kubectl("create namespace shop").fails_with("namespaces \"shop\" already exists");
    check("delete namespace shop", "namespace \"shop\" deleted");
    cluster.kubectl("-n shop create configmap late").fails_with("namespaces \"shop\" not found");
}

#[test]
fn manifests_are_applied_by_either_side() {
    let Some(cluster) = Cluster::start() else { return };
    let manifest = |colour: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\ndata:\n  colour: {colour}")
    };
    assert_eq!(cluster.apply(&manifest("blue")).ok(), "configmap/settings created");
    assert_eq!(cluster.apply(&manifest("blue")).ok(), "configmap/settings unchanged");
    assert_eq!(cluster.apply(&manifest("red")).ok(), "configmap/settings configured");
    let server_side = |manager: &str, colour: &str| {
        cluster
            .kubectl(&format!("apply --server-side --field-manager={manager} -f - <<'END'\n{}\nEND", manifest(colour)))
    };
    server_side("other", "green").fails_with("conflict with \"kubectl-client-side-apply\" using v1: .data.colour");
    let forced =
        cluster.kubectl(&format!("apply --server-side --force-conflicts -f - <<'END'\n{}\nEND", manifest("green")));
    assert_eq!(forced.ok(), "configmap/settings serverside-applied");
    assert_eq!(cluster.kubectl("get configmap settings -o jsonpath={.data.colour}").ok(), "green");
    let strange = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other\ndatum: {}";
    cluster.kubectl(&format!("create -f - <<'END'\n{strange}\nEND")).fails_with("unknown field \"datum\"");
}

#[test]
fn the_server_tells_what_it_has_and_who_asks() {
    let Some(cluster) = Cluster::start() else { return };
    let has = |words: &str, expected: &[&str]| {
        let said = cluster.kubectl(words).ok();
        expected.iter().for_each(|text| assert!(said.contains(text), "kubectl {words}: no {text:?} in\n{said}"));
    };
    has("version", &["Server Version: v1.36"]);
    has("api-resources", &["deployments", "apps/v1", "endpointslices", "ing "]);
    has("api-versions", &["apps/v1", "networking.k8s.io/v1", "v1"]);
    has("explain deployment.spec.strategy", &["rollingUpdate", "<RollingUpdateDeployment>"]);
    has("explain pod --recursive", &["terminationGracePeriodSeconds"]);
    has("auth whoami", &["kubernetes-admin", "system:masters"]);
    has("auth can-i delete nodes", &["yes"]);
    has("get --raw /readyz", &["ok"]);
    let bare = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:6443";
    assert_eq!(cluster.host.sh(&format!("{bare}/api/v1/pods")).ok(), "403");
    assert_eq!(cluster.host.sh(&format!("{bare}/version")).ok(), "200");
    assert_eq!(cluster.host.sh(&format!("{bare}/api/v1/pods -H 'Authorization: Bearer x'")).ok(), "401");
    let token = cluster.kubectl("create token default").ok();
    let with_token = |path: &str| cluster.host.sh(&format!("{bare}{path} -H 'Authorization: Bearer {token}'")).ok();
    assert_eq!(with_token("/api/v1/namespaces/default/pods"), "200");
    assert_eq!(with_token("/api/v1/namespaces/kube-system/pods"), "403");
}

#[test]
fn the_nodes_own_api_answers_the_server_only() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("run box --image=busybox:1 -- sleep 1000").ok();
    cluster.kubectl("wait --for=condition=Ready pod/box --timeout=30s").ok();
    assert_eq!(cluster.kubectl("exec box -- echo hello").ok(), "hello");
    let refused = |from: &str, path: &str| {
        let ask = format!("curl -sk --http1.1 -m 10 'https://192.0.2.1:10250{path}'");
        let said = if from == "outside" { cluster.host.outside(&ask) } else { cluster.host.sh(&ask) };
        assert!(said.code != 0 && said.out.is_empty(), "{from}: {said:?}");
    };
    for path in ["/pods", "/containerLogs/default/box/box", "/exec/default/box/box?command=id&output=1"] {
        refused("outside", path);
        refused("the host", path);
    }
}

#[test]
fn objects_outlive_the_daemon() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create configmap settings --from-literal=colour=blue").ok();
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    let colour = || {
        let said = cluster.kubectl("get configmap settings -o jsonpath={.data.colour}");
        (said.code == 0).then_some(said.out)
    };
    assert_eq!(conformance::eventually("the API is there again", colour), "blue");
}

#[test]
fn objects_are_in_an_etcd_if_that_is_asked() {
    if std::process::Command::new("etcd").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no etcd");
        return;
    }
    let Some(host) = Host::empty() else { return };
    host.sh(&format!("etcd --data-dir {}/etcd >/dev/null 2>&1 &", host.path().display())).ok();
    let store = ["--store", "etcd://127.0.0.1:2379"];
    let host = host.with_all_faces().with_arguments(&store);
    host.start_daemon();
    let Some(cluster) = Cluster::on(host) else { return };
    cluster.kubectl("create configmap settings --from-literal=colour=blue").ok();
    cluster.kubectl("run box --image=busybox:1 -- sleep 1000").ok();
    cluster.kubectl("wait --for=condition=Ready pod/box --timeout=30s").ok();
    assert!(!cluster.host.data_root().join("kube.db").exists());
    let keys = cluster.host.sh("ETCDCTL_API=3 etcdctl get --prefix --keys-only / 2>/dev/null || true").ok();
    assert!(keys.is_empty() || keys.contains("/core/configmaps/default/settings"), "{keys}");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    let colour = || {
        let said = cluster.kubectl("get configmap settings -o jsonpath={.data.colour}");
        (said.code == 0).then_some(said.out)
    };
    assert_eq!(conformance::eventually("the API is there again", colour), "blue");
}
