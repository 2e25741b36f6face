//! The node with the real kubectl: what it is, what it has, what it uses, and what becomes of it while its agent is away.

use conformance::{Cluster, eventually_fits};

#[test]
fn the_node() {
    let Some(cluster) = Cluster::start() else { return };
    let name = cluster.kubectl("get node -o 'jsonpath={.items[0].metadata.name}'").ok();
    let field = |path: &str| cluster.kubectl(&format!("get node {name} -o 'jsonpath={{{path}}}'")).out;
    cluster.apply("{ apiVersion: v1, kind: Pod, metadata: { name: busy }, spec: { terminationGracePeriodSeconds: 1, containers: [{ name: main, image: \"busybox:1\", command: [sh, -c, \"while :; do sleep 0.1; done\"], resources: { requests: { cpu: 100m, memory: 16Mi } } }] } }").ok();
    cluster.until_ready("busy");

    let conditions = field(".status.conditions[*].type");
    assert_eq!(conditions, "MemoryPressure DiskPressure PIDPressure Ready");
    assert_eq!(field(".status.conditions[*].status"), "False False False True");
    assert_eq!(field(".status.capacity.cpu"), cluster.host.sh("nproc").ok());
    assert_eq!(field(".status.allocatable.pods"), "110");
    eventually_fits("its images are told", || field(".status.images[*].names"), |names| names.contains("busybox:1"));
    assert_eq!(field(".status.addresses[?(@.type==\"InternalIP\")].address"), "192.0.2.1");

    let described = cluster.kubectl(&format!("describe node {name}")).ok();
    for words in [
        "Roles:              <none>",
        "Taints:             <none>",
        "Unschedulable:      false",
        "HolderIdentity:  ",
        "KubeletReady                 kubelet is posting ready status",
        "Container Runtime Version:  linkspan://",
        "default                     busy ",
        "cpu                100m ",
        "NodeReady",
        "Starting kubelet.",
    ] {
        assert!(described.contains(words), "{words}\n{described}");
    }

    // What it and its pods use, and its own API by the server's.
    let ask = |path: &str| cluster.kubectl(&format!("get --raw /api/v1/nodes/{name}/proxy/{path}"));
    assert_eq!(ask("healthz").ok(), "ok");
    assert!(ask("pods").ok().contains("\"name\":\"busy\""));
    let metric = |metric: &str| {
        let text = ask("metrics/resource").out;
        let value = text.lines().find_map(|line| line.strip_prefix(metric)).and_then(|rest| rest.rsplit(' ').next());
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
    };
    for name in [
        "container_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"busy\"}",
        "container_memory_working_set_bytes{container=\"main\",namespace=\"default\",pod=\"busy\"}",
        "pod_memory_working_set_bytes{namespace=\"default\",pod=\"busy\"}",
        "node_cpu_usage_seconds_total",
        "node_memory_working_set_bytes",
    ] {
        assert!(metric(name) > 0.0, "{name}");
    }
    let summary = ask("stats/summary").ok();
    assert!(summary.contains("\"podRef\":{\"name\":\"busy\"") && summary.contains("workingSetBytes"), "{summary}");

    // Who writes says who it is.
    let managers = cluster.kubectl(&format!(
        "get node {name} --show-managed-fields -o 'jsonpath={{.metadata.managedFields[*].manager}}'"
    ));
    let managers = managers.ok();
    assert!(managers.contains("linkspan") && !managers.contains("unknown"), "{managers}");

    // The lease goes on; somebody else may remove the node, and it comes again.
    let renewed =
        || cluster.kubectl(&format!("get lease -n kube-node-lease {name} -o 'jsonpath={{.spec.renewTime}}'")).out;
    let first = renewed();
    eventually_fits("the lease is renewed", renewed, |time| !time.is_empty() && time != first);
    let uid = field(".metadata.uid");
    cluster.kubectl(&format!("delete node {name}")).ok();
    eventually_fits("the node comes again", || field(".metadata.uid"), |found| !found.is_empty() && found != uid);
    let ready = || field(".status.conditions[?(@.type==\"Ready\")].status");
    eventually_fits("it is ready", ready, |ready| ready == "True");

    // When nobody had heard of it for long, it is taken for lost. It finds that, and says how it is.
    let lost =
        "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"Unknown\",\"reason\":\"NodeStatusUnknown\"}]}}";
    cluster.kubectl(&format!("patch node {name} --subresource=status -p '{lost}'")).ok();
    eventually_fits("it is ready again", ready, |ready| ready == "True");
    let taints = || field(".spec.taints");
    eventually_fits("nobody is kept away", taints, str::is_empty);
}
