//! The containers of a pod with the real kubectl: in which order they begin and end, and what they are told.

use conformance::{Cluster, eventually_fits};

#[test]
fn init_containers_sidecars_and_what_they_are_told() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("containers.yaml");

    told(&cluster);
    in_order(&cluster);
    failed(&cluster);

    // A sidecar that ends is started again whatever the pod's policy is, and does not keep the pod from its end.
    cluster.until_shown("job", "Completed");
    assert_eq!(cluster.field("job", ".status.phase"), "Succeeded");
    assert_eq!(cluster.field("job", ".status.initContainerStatuses[0].restartCount"), "1");
    assert_ne!(cluster.field("job", ".status.initContainerStatuses[0].state.terminated.exitCode"), "");
}

/// What a container has in its environment.
fn told(cluster: &Cluster) {
    cluster.until_shown("told", "Completed");
    let log = cluster.kubectl("logs told").ok();
    let node = cluster.kubectl("get node -o 'jsonpath={.items[0].metadata.name}'").ok();
    let expected = [
        "SET_COLOUR=red",
        "SET_size=large",
        "token=secret",
        "MADE=plain-red-$(NOBODY)-$(PLAIN)",
        "FROM_MAP=large",
        "FROM_SECRET=secret",
        "LABEL=shop",
        "NOTE=two words",
        "NAME=told",
        "NAMESPACE=default",
        "ACCOUNT=default",
        "HOST_IP=192.0.2.1",
        "CPU_REQUEST=250",
        "CPU_LIMIT=2",
        "MEMORY_LIMIT=64",
        "HOSTNAME=called",
        "KUBERNETES_SERVICE_HOST=10.96.0.1",
        "KUBERNETES_SERVICE_PORT_HTTPS=443",
        "args plain $(PLAIN) $(NOBODY)",
        &format!("NODE={node}"),
    ];
    for line in expected {
        assert!(log.lines().any(|found| found == line), "{line}\n{log}");
    }
    assert!(!log.contains("NO_KEY"), "{log}");
}

/// Init containers run one after the other; sidecars start among them, are waited for, and end last, in reverse.
fn in_order(cluster: &Cluster) {
    let notes = || cluster.host.sh("cat /run/notes/order").out;
    cluster.until_shown("order", "Init:1/4");
    assert_eq!(cluster.field("order", ".status.phase"), "Pending");
    let waiting = ".status.initContainerStatuses[?(@.name==\"second\")].state.waiting.reason";
    assert_eq!(cluster.field("order", waiting), "PodInitializing");
    let initialized = ".status.conditions[?(@.type==\"Initialized\")]";
    assert_eq!(cluster.field("order", &format!("{initialized}.reason")), "ContainersNotInitialized");
    let message = "containers with incomplete status: [helper second watcher]";
    assert_eq!(cluster.field("order", &format!("{initialized}.message")), message);
    assert_eq!(notes(), "first\nhelper\n");

    cluster.host.sh("echo allowed > /run/notes/go").ok();
    cluster.until_shown("order", "Running");
    // The pod is ready when its sidecars are.
    let row = || cluster.kubectl("get pod order --no-headers").out;
    eventually_fits("all but one are ready", row, |row| row.split_whitespace().nth(1) == Some("2/3"));
    assert_eq!(cluster.field("order", ".status.conditions[?(@.type==\"Ready\")].status"), "False");
    cluster.host.sh("touch /run/notes/seen").ok();
    cluster.until_ready("order");
    assert_eq!(notes(), "first\nhelper\nsecond\nmain\n");

    cluster.kubectl("delete pod order").ok();
    assert_eq!(notes(), "first\nhelper\nsecond\nmain\nmain ends\nwatcher ends\nhelper ends\n");
}

fn failed(cluster: &Cluster) {
    cluster.until_shown("init-fails", "Init:Error");
    assert_eq!(cluster.field("init-fails", ".status.phase"), "Failed");
    assert_eq!(cluster.field("init-fails", ".status.initContainerStatuses[0].state.terminated.exitCode"), "4");
    cluster.until_shown("init-crashes", "Init:CrashLoopBackOff");
    assert_eq!(cluster.field("init-crashes", ".status.phase"), "Pending");
    cluster
        .until_told("init-crashes", "BackOff Back-off restarting failed container second in pod init-crashes_default(");
    // What came before is not done again.
    assert_eq!(cluster.field("init-crashes", ".status.initContainerStatuses[0].restartCount"), "0");
}

#[test]
fn resources_change_in_place() {
    let Some(cluster) = Cluster::start() else { return };
    let pod = "{ apiVersion: v1, kind: Pod, metadata: { name: sized }, spec: { terminationGracePeriodSeconds: 1, containers: [{ name: main, image: \"busybox:1\", command: [sleep, \"1000\"],
        resizePolicy: [{ resourceName: cpu, restartPolicy: NotRequired }, { resourceName: memory, restartPolicy: RestartContainer }],
        resources: { requests: { cpu: 100m, memory: 32Mi }, limits: { cpu: 100m, memory: 32Mi } } }] } }";
    cluster.apply(pod).ok();
    cluster.until_ready("sized");
    let quota = || {
        let container = cluster.host.docker("ps -q --filter name=k8s_main_sized").ok();
        let limits = "{{.HostConfig.CpuPeriod}} {{.HostConfig.CpuQuota}} {{.HostConfig.Memory}}";
        cluster.host.docker(&format!("inspect -f '{limits}' {container}")).out.trim().to_owned()
    };
    assert_eq!(quota(), "100000 10000 33554432");
    let first = cluster.field("sized", ".status.containerStatuses[0].containerID");
    let sized = |resources: &str| {
        let patch = format!("{{\"spec\":{{\"containers\":[{{\"name\":\"main\",\"resources\":{resources}}}]}}}}");
        cluster.kubectl(&format!("patch pod sized --subresource resize --patch '{patch}'"))
    };
    // More time at once, in the same container.
    sized("{\"requests\":{\"cpu\":\"200m\"},\"limits\":{\"cpu\":\"200m\"}}").ok();
    eventually_fits("it has more time", quota, |quota| quota == "100000 20000 33554432");
    cluster.until("sized", ".status.containerStatuses[0].resources.limits.cpu", "200m");
    assert_eq!(cluster.field("sized", ".status.containerStatuses[0].containerID"), first);
    assert_eq!(cluster.field("sized", ".status.containerStatuses[0].restartCount"), "0");
    // More memory in a new one, as its policy is.
    sized("{\"requests\":{\"memory\":\"64Mi\"},\"limits\":{\"memory\":\"64Mi\"}}").ok();
    cluster.until("sized", ".status.containerStatuses[0].restartCount", "1");
    cluster.until_ready("sized");
    eventually_fits("it has more memory", quota, |quota| quota == "100000 20000 67108864");
    cluster.until("sized", ".status.containerStatuses[0].resources.limits.memory", "64Mi");
    cluster.until_told("sized", "Container main resize requires restart");
    // It stays in its class, and resources change in no other way.
    sized("{\"limits\":{\"cpu\":\"300m\"}}").fails_with("Pod QOS Class may not change as a result of resizing");
    let whole = "{\"spec\":{\"containers\":[{\"name\":\"main\",\"resources\":{\"limits\":{\"cpu\":\"300m\"}}}]}}";
    cluster
        .kubectl(&format!("patch pod sized --patch '{whole}'"))
        .fails_with("pod updates may not change fields other than");
}
