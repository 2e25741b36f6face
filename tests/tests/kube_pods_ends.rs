//! How pods end, and what they may use, with the real kubectl.

use conformance::{Cluster, eventually, eventually_fits};

#[test]
fn ends_restarts_and_limits() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("ends.yaml");
    limits(&cluster);
    too_much(&cluster);
    ended(&cluster);
    asked_to_go(&cluster);
    taken_away(&cluster);
}

fn ended(cluster: &Cluster) {
    cluster.until("late", ".status.reason", "DeadlineExceeded");
    assert_eq!(cluster.field("late", ".status.phase"), "Failed");
    let message = "Pod was active on the node longer than the specified deadline";
    assert_eq!(cluster.field("late", ".status.message"), message);
    cluster.until_told("late", &format!("DeadlineExceeded {message}"));

    cluster.until_shown("retries", "Completed");
    assert_eq!(cluster.field("retries", ".status.containerStatuses[0].restartCount"), "1");
    assert_eq!(cluster.field("retries", ".status.containerStatuses[0].lastState.terminated.exitCode"), "7");

    cluster.until_shown("words", "Error");
    let said = |name: &str| {
        cluster.field("words", &format!(".status.containerStatuses[?(@.name==\"{name}\")].state.terminated.message"))
    };
    assert_eq!((said("file").trim(), said("log").trim(), said("good").trim()), ("written", "logged", ""));

    cluster.until_shown("hungry", "OOMKilled");
    assert_eq!(cluster.field("hungry", ".status.containerStatuses[0].state.terminated.exitCode"), "137");
}

/// `kubectl delete` with less patience than the pod has.
fn asked_to_go(cluster: &Cluster) {
    cluster.until_ready("patient");
    cluster.kubectl("delete pod patient --wait=false").ok();
    cluster.until_shown("patient", "Terminating");
    cluster.until_told("patient", "Killing Stopping container main");
    assert_eq!(cluster.field("patient", ".metadata.deletionGracePeriodSeconds"), "600");
    // Somebody is in more of a hurry.
    cluster.kubectl("delete pod patient --now").ok();
    cluster.until_ready("forced");
    cluster.kubectl("delete pod forced --force --grace-period=0").ok();
    for pod in ["patient", "forced"] {
        let left = || cluster.host.docker(&format!("ps -aq --filter name=k8s_main_{pod}")).out;
        eventually_fits(&format!("nothing is left of {pod}"), left, |left| left.trim().is_empty());
        cluster.kubectl(&format!("get pod {pod}")).fails_with("not found");
    }
}

fn limits(cluster: &Cluster) {
    for pod in ["limited", "requesting", "modest"] {
        cluster.until_ready(pod);
    }
    let class = |pod: &str| cluster.field(pod, ".status.qosClass");
    assert_eq!([class("limited"), class("requesting"), class("modest")], ["Guaranteed", "Burstable", "BestEffort"]);
    // Limits are in the control group, whichever version the node has.
    let read = |pod: &str, files: &str| cluster.kubectl(&format!("exec {pod} -- sh -c 'cat {files} 2>/dev/null'")).out;
    let memory = read("limited", "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max");
    assert_eq!(memory.trim(), "33554432");
    let swap = read("limited", "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory.swap.max");
    assert!(matches!(swap.trim(), "33554432" | "0" | ""), "{swap}");
    let quota = read("limited", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max");
    assert!(quota.starts_with("25000"), "{quota}");
    // A score below the daemon's own needs a capability that not every host gives.
    let score = |pod: &str| read(pod, "/proc/1/oom_score_adj").trim().to_owned();
    let own = cluster.host.sh(&format!("cat /proc/{}/oom_score_adj", cluster.host.daemon_pid())).ok();
    assert!(score("limited") == "-997" || score("limited") == own, "{}", score("limited"));
    assert_eq!(score("modest"), "1000");
}

/// Who binds a pod to the node by hand gets no more than there is.
fn too_much(cluster: &Cluster) {
    let node = cluster.kubectl("get node -o 'jsonpath={.items[0].metadata.name}'").ok();
    let pod = |name: &str, resources: &str| {
        let container = format!("{{ name: main, image: \"busybox:1\", resources: {{ requests: {{ {resources} }} }} }}");
        let spec = format!("{{ nodeName: {node}, containers: [{container}] }}");
        cluster.apply(&format!("{{ apiVersion: v1, kind: Pod, metadata: {{ name: {name} }}, spec: {spec} }}")).ok();
    };
    pod("much-cpu", "cpu: 1000");
    pod("much-memory", "memory: 100Ti");
    cluster.until_shown("much-cpu", "OutOfcpu");
    cluster.until_shown("much-memory", "OutOfmemory");
    let message = cluster.field("much-cpu", ".status.message");
    let words = "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000, used: ";
    assert!(message.starts_with(words), "{message}");
    cluster.until_told("much-cpu", "OutOfcpu Node didn't have enough resource: cpu, requested: 1000000, used: ");
    assert_eq!(cluster.host.docker("ps -aq --filter name=k8s_main_much").ok(), "");
}

/// Somebody removes the only container of a pod: it comes again, and the pod never looks as if it had not begun.
fn taken_away(cluster: &Cluster) {
    let watch = "timeout 30 kubectl get pod modest -w -o 'jsonpath={.status.phase}{\"\\n\"}' > /run/phases 2>&1 &";
    cluster.host.sh(&format!("export KUBECONFIG=/run/linkspan/kubeconfig; {watch}")).ok();
    eventually("the watch has begun", || cluster.host.sh("cat /run/phases").out.contains("Running").then_some(()));
    cluster.host.docker("rm -f $(docker ps -q --filter name=k8s_main_modest)").ok();
    cluster.until("modest", ".status.containerStatuses[0].restartCount", "1");
    cluster.until_ready("modest");
    let last = ".status.containerStatuses[0].lastState.terminated";
    assert_eq!(cluster.field("modest", &format!("{last}.reason")), "ContainerStatusUnknown");
    assert_eq!(cluster.field("modest", &format!("{last}.exitCode")), "137");
    let phases = cluster.host.sh("cat /run/phases").out;
    assert!(!phases.contains("Pending"), "{phases}");
}
