//! The walk that README and `cargo xtask up` propose: the shop of `examples/`, with the real kubectl and the daemon as it is unless told.

use std::path::Path;

use conformance::{Cluster, eventually};

/// The daemon as it starts unless told, with the images that the shop is made of.
fn shop() -> Option<Cluster> {
    let cluster = Cluster::start_with(&["--demo"])?;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/shop.yaml");
    cluster.kubectl(&format!("apply -f {}", manifest.display())).ok();
    cluster.kubectl("config set-context --current --namespace shop").ok();
    cluster.kubectl("rollout status deploy/web --timeout=60s").ok();
    cluster.kubectl("rollout status deploy/catalog --timeout=60s").ok();
    Some(cluster)
}

#[test]
fn the_shop_opens_changes_and_closes() {
    let Some(cluster) = shop() else { return };
    let shown = cluster.kubectl("get po,rs,deploy,svc,ing,ep -o wide").ok();
    for part in [
        "pod/web-",
        "replicaset.apps/web-",
        "deployment.apps/web",
        "service/web",
        "ingress.networking.k8s.io/shop",
        "endpoints/web",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let address = eventually("the Ingress has an address", || {
        let path = "{.status.loadBalancer.ingress[0].ip}";
        let said = cluster.kubectl(&format!("get ingress shop -o 'jsonpath={path}'")).ok();
        (!said.is_empty()).then_some(said)
    });
    cluster.kubectl("-n linkspan-system rollout status deploy/gateway --timeout=60s").ok();
    let curl = format!("curl -sf -m 10 --resolve shop.local:8080:{address} http://shop.local:8080");
    let through_the_ingress = |path: &str| cluster.host.sh(&format!("{curl}{path}"));
    eventually("the shop answers", || (through_the_ingress("/").code == 0).then_some(()));
    let said = through_the_ingress("/").ok();
    assert!(said.starts_with("Welcome to the shop! v1 I am web-"), "{said}");
    let said = through_the_ingress("/catalog").ok();
    assert!(said.starts_with("v1 I am catalog-") && said.contains("asked for /catalog"), "{said}");
    let cluster_ip = cluster.kubectl("get svc web -o jsonpath={.spec.clusterIP}").ok();
    for place in [format!("{cluster_ip}:80"), "127.0.0.1:30007".to_owned(), format!("{address}:30007")] {
        let said = cluster.host.sh(&format!("curl -sf -m 10 http://{place}/")).ok();
        assert!(said.contains("I am web-"), "{place}: {said}");
    }
    let said = cluster.kubectl("exec deploy/catalog -- /linkspan demo ask web.shop").ok();
    assert!(said.contains("I am web-"), "{said}");
    // From outside too, and pods are containers as others are.
    let outside = format!("curl -sf -m 10 -H 'Host: shop.local' http://{address}:8080/");
    assert!(cluster.host.outside(&outside).ok().contains("I am web-"));
    assert!(cluster.host.docker("ps --format '{{.Names}}'").ok().contains("k8s_web_web-"));

    cluster.kubectl("set image deploy/web web=linkspan/demo:v2").ok();
    cluster.kubectl("rollout status deploy/web --timeout=60s").ok();
    assert!(through_the_ingress("/").ok().starts_with("Welcome to the shop! v2 "));
    let history = cluster.kubectl("rollout history deploy/web").ok();
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    cluster.kubectl("rollout undo deploy/web").ok();
    cluster.kubectl("rollout status deploy/web --timeout=60s").ok();
    assert!(through_the_ingress("/").ok().starts_with("Welcome to the shop! v1 "));
    cluster.kubectl("rollout undo deploy/web --to-revision 2").ok();
    cluster.kubectl("rollout status deploy/web --timeout=60s").ok();
    assert!(through_the_ingress("/").ok().starts_with("Welcome to the shop! v2 "));

    cluster.kubectl("delete namespace shop --timeout=60s").ok();
    let gateway = || cluster.kubectl("-n linkspan-system get deploy,svc -o name");
    eventually("with its last Ingress the gateway goes", || gateway().ok().is_empty().then_some(()));
    // Who applies the manifest has it: it comes without a warning, and goes with nobody's Ingress.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/gateway.yaml");
    cluster.kubectl("-n default create ingress one --rule=one.local/*=one:80").ok();
    eventually("it comes", || (gateway().ok().lines().count() == 2).then_some(()));
    let applied = cluster.kubectl(&format!("apply -f {}", manifest.display()));
    assert_eq!((applied.code, applied.err.as_str()), (0, ""), "{applied:?}");
    cluster.kubectl("-n default delete ingress one").ok();
    cluster.kubectl("-n default create ingress two --rule=two.local/*=two:80").ok();
    eventually("all controllers have seen it", || {
        let path = "{.status.loadBalancer.ingress[0].ip}";
        (!cluster.kubectl(&format!("-n default get ingress two -o 'jsonpath={path}'")).ok().is_empty()).then_some(())
    });
    assert_eq!(gateway().ok(), "deployment.apps/gateway\nservice/gateway");
}

#[test]
fn containers_are_there_where_kubernetes_cannot_be() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.host.kill_daemon();
    // Its port is somebody else's now: it finds another one.
    cluster.host.sh("socat TCP-LISTEN:6443,bind=127.0.0.1,fork,reuseaddr /dev/null >/dev/null 2>&1 &").ok();
    eventually("the port is taken", || cluster.host.sh("ss -Hltn sport = :6443").ok().contains("6443").then_some(()));
    // So is the port of the Service by which pods find it, at all addresses.
    cluster.host.sh("socat TCP-LISTEN:443,fork,reuseaddr /dev/null >/dev/null 2>&1 &").ok();
    eventually("that too", || cluster.host.sh("ss -Hltn sport = :443").ok().contains("443").then_some(()));
    cluster.host.start_daemon();
    let server =
        || cluster.host.sh("grep server: /run/linkspan/kubeconfig; grep '\"server\"' /run/linkspan/kubeconfig");
    eventually("it says where it is", || server().out.contains("127.0.0.1").then_some(()));
    assert!(!server().out.contains(":6443"), "{}", server().out);
    eventually("the node is there", || (cluster.kubectl("get nodes").code == 0).then_some(()));
    cluster.host.docker("run -d --name pod busybox sleep 1000").ok();
    let pid = cluster.host.docker("inspect -f {{.State.Pid}} pod").ok();
    let ask = "curl -sk -m 5 https://10.96.0.1/version";
    for inside in [ask.to_owned(), format!("nsenter -n -t {pid} {ask}")] {
        eventually("it is found by its Service", || cluster.host.sh(&inside).out.contains("gitVersion").then_some(()));
    }
    // What was asked for by name is had or nothing is.
    cluster.host.kill_daemon();
    let up = format!("up --data-root {} --kube-listen 127.0.0.1:6443", cluster.host.data_root().display());
    cluster.host.linkspan(&up).fails_with("the Kubernetes API cannot listen on 127.0.0.1:6443");
    cluster.host.start_daemon();
}
