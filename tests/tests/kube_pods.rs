//! Pods with the real kubectl: what they run with, how they live, how they end, and how they are reached.

use conformance::{Cluster, eventually};

/// Applies what is in a file beside this one.
fn apply(cluster: &Cluster, name: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube").join(name);
    eventually("it is applied", || {
        // The service account of a namespace comes a moment after it.
        let said = cluster.kubectl(&format!("apply -f {}", file.display()));
        (said.code == 0).then_some(())
    });
}

/// What a field of a pod says.
fn field(cluster: &Cluster, pod: &str, path: &str) -> String {
    cluster.kubectl(&format!("get pod {pod} -o 'jsonpath={{{path}}}'")).out
}

fn until(cluster: &Cluster, pod: &str, path: &str, expected: &str) {
    eventually(&format!("{pod} has {path} {expected}"), || (field(cluster, pod, path) == expected).then_some(()));
}

const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";

#[test]
fn a_pod_runs_with_all_that_it_asks_for() {
    let Some(cluster) = Cluster::start() else { return };
    apply(&cluster, "web.yaml");
    until(&cluster, "web", READY, "True");
    let address = field(&cluster, "web", ".status.podIP");
    let log = cluster.kubectl("logs web -c main").ok();
    for line in ["A=one", "AB=one-b", &format!("IP={address}"), "CPU=1", "from-init", "two", "secret", "label=\"web\""]
    {
        assert!(log.lines().any(|found| found == line), "{line}\n{log}");
    }
    assert_eq!(cluster.kubectl("exec web -c main -- hostname").ok(), "web");
    let resolv_conf = cluster.kubectl("exec web -c main -- cat /etc/resolv.conf").ok();
    assert!(resolv_conf.contains("nameserver 10.96.0.10") && resolv_conf.contains("options ndots:5"), "{resolv_conf}");
    // Two containers share the network, System V IPC, the host name and /dev/shm.
    let both = |script: &str| ["main", "side"].map(|c| cluster.kubectl(&format!("exec web -c {c} -- {script}")).ok());
    for script in ["readlink /proc/self/ns/net", "readlink /proc/self/ns/ipc", "readlink /proc/self/ns/uts"] {
        let [one, other] = both(script);
        assert_eq!(one, other, "{script}");
    }
    cluster.kubectl("exec web -c main -- touch /dev/shm/here").ok();
    cluster.kubectl("exec web -c side -- ls /dev/shm/here").ok();
    // From the host, by the host's port, and from containers and back.
    assert_eq!(cluster.host.sh("curl -s 192.0.2.1:8080").ok(), "hello");
    assert_eq!(cluster.host.docker(&format!("run --rm busybox get {address}:80")).ok(), "hello");
    cluster.host.docker("run -d --name peer busybox httpd -f -p 80 -h /var/www").ok();
    let peer = cluster.host.docker("inspect peer -f {{.NetworkSettings.IPAddress}}").ok();
    assert_eq!(cluster.kubectl(&format!("exec web -c side -- get {peer}:80")).ok(), "hello");
    cluster.host.docker("network rm kube-pods").fails_with("cannot be removed");
    // Files follow what they are made of.
    cluster.kubectl("patch configmap settings -p '{\"data\":{\"b\":\"changed\"}}'").ok();
    eventually("the file changes", || {
        (cluster.kubectl("exec web -c main -- cat /settings/b").out.trim() == "changed").then_some(())
    });
}

#[test]
fn pods_outlive_the_daemon_and_end_when_asked() {
    let Some(cluster) = Cluster::start() else { return };
    apply(&cluster, "web.yaml");
    until(&cluster, "web", READY, "True");
    let before = field(&cluster, "web", ".status.containerStatuses[*].containerID");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually("the API answers", || (cluster.kubectl("get pods").code == 0).then_some(()));
    until(&cluster, "web", READY, "True");
    assert_eq!(field(&cluster, "web", ".status.containerStatuses[*].containerID"), before);
    assert_eq!(field(&cluster, "web", ".status.containerStatuses[*].restartCount"), "0 0");
    // Somebody takes a container away: it comes again.
    cluster.host.docker("rm -f $(docker ps -q --filter name=k8s_side_web)").ok();
    until(&cluster, "web", ".status.containerStatuses[?(@.name==\"side\")].restartCount", "1");
    cluster.kubectl("delete pod web --timeout=60s").ok();
    assert_eq!(cluster.host.docker("ps -aq --filter name=k8s_").ok(), "");
    assert_eq!(cluster.host.sh("ls /run/linkspan/pods /run/linkspan/sandboxes 2>/dev/null | grep -v :").out.trim(), "");
}

#[test]
fn pods_crash_fail_and_succeed() {
    let Some(cluster) = Cluster::start() else { return };
    apply(&cluster, "lives.yaml");
    until(&cluster, "crashes", ".status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    assert_eq!(field(&cluster, "crashes", ".status.containerStatuses[0].lastState.terminated.exitCode"), "3");
    assert_eq!(field(&cluster, "crashes", ".status.containerStatuses[0].lastState.terminated.message"), "last words\n");
    let previous = cluster.kubectl("logs crashes --previous").ok();
    assert_eq!(previous, "crash");
    until(&cluster, "succeeds", ".status.phase", "Succeeded");
    assert_eq!(cluster.kubectl("logs succeeds").ok(), "done");
    until(&cluster, "fails", ".status.phase", "Failed");
    until(&cluster, "no-image", ".status.containerStatuses[0].state.waiting.reason", "ErrImageNeverPull");
    until(&cluster, "no-config", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError");
    until(&cluster, "no-program", ".status.containerStatuses[0].lastState.terminated.reason", "StartError");
    until(&cluster, "unhealthy", ".status.containerStatuses[0].restartCount", "1");
    until(&cluster, "of-host", READY, "True");
    assert_eq!(field(&cluster, "of-host", ".status.podIP"), field(&cluster, "of-host", ".status.hostIP"));
    let events = cluster.kubectl("get events -o 'jsonpath={.items[*].reason}'").ok();
    for reason in ["Pulled", "Created", "Started", "BackOff", "Killing", "Unhealthy", "Failed"] {
        assert!(events.split(' ').any(|found| found == reason), "{reason}: {events}");
    }
}

#[test]
fn commands_and_ports_of_a_pod() {
    let Some(cluster) = Cluster::start() else { return };
    apply(&cluster, "web.yaml");
    until(&cluster, "web", READY, "True");
    for variables in ["", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false"] {
        let kubectl = |words: &str| {
            cluster.host.sh(&format!(
                "export {variables} KUBECONFIG=/run/linkspan/kubeconfig; {}",
                words.replace("K ", "kubectl ")
            ))
        };
        let said = kubectl("K exec web -c main -- sh -c 'echo out; echo err >&2; exit 3'");
        assert_eq!((said.code, said.out.trim()), (3, "out"), "{}", said.err);
        assert!(said.err.contains("err"), "{}", said.err);
        assert_eq!(kubectl("head -c 3000000 /dev/zero | K exec -i web -c main -- wc -c").ok(), "3000000");
        assert_eq!(kubectl("K exec web -c main -- head -c 5000000 /dev/zero | wc -c").ok(), "5000000");
        let forwarded = "
            K port-forward pod/web 8088:80 > /dev/null & forward=$!
            for try in $(seq 100); do curl -s 127.0.0.1:8088 && break; sleep 0.1; done
            kill $forward";
        assert_eq!(kubectl(forwarded).out.trim(), "hello");
    }
    let tail = cluster.kubectl("logs web -c main --tail=1 --timestamps").ok();
    assert!(tail.starts_with("20") && tail.lines().count() == 1, "{tail}");
}
