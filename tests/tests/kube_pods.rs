//! Pods with the real kubectl: what they run with, how they live, how they end, and how they are reached.

use conformance::{Host, Said, eventually};

/// A host that is a Kubernetes node too, and has kubectl.
fn node() -> Option<Host> {
    if std::process::Command::new("kubectl").arg("version").arg("--client").output().is_err() {
        eprintln!("SKIPPED: kubectl is not installed");
        return None;
    }
    let host = Host::start_with(&["--kube-listen", "127.0.0.1:6443"])?;
    host.load_image();
    eventually("the node is ready", || {
        let said = kubectl(&host, "get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}'");
        (said.out == "True").then_some(())
    });
    Some(host)
}

fn kubectl(host: &Host, words: &str) -> Said {
    host.sh(&format!("KUBECONFIG=/run/linkspan/kubeconfig kubectl --request-timeout=30s {words}"))
}

/// Applies what is in a file beside this one.
fn apply(host: &Host, name: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube").join(name);
    eventually("it is applied", || {
        // The service account of a namespace comes a moment after it.
        let said = kubectl(host, &format!("apply -f {}", file.display()));
        (said.code == 0).then_some(())
    });
}

/// What a field of a pod says.
fn field(host: &Host, pod: &str, path: &str) -> String {
    kubectl(host, &format!("get pod {pod} -o 'jsonpath={{{path}}}'")).out
}

fn until(host: &Host, pod: &str, path: &str, expected: &str) {
    eventually(&format!("{pod} has {path} {expected}"), || (field(host, pod, path) == expected).then_some(()));
}

const READY: &str = ".status.conditions[?(@.type==\"Ready\")].status";

#[test]
fn a_pod_runs_with_all_that_it_asks_for() {
    let Some(host) = node() else { return };
    apply(&host, "web.yaml");
    until(&host, "web", READY, "True");
    let address = field(&host, "web", ".status.podIP");
    let log = kubectl(&host, "logs web -c main").ok();
    for line in ["A=one", "AB=one-b", &format!("IP={address}"), "CPU=1", "from-init", "two", "secret", "label=\"web\""]
    {
        assert!(log.lines().any(|found| found == line), "{line}\n{log}");
    }
    assert_eq!(kubectl(&host, "exec web -c main -- hostname").ok(), "web");
    let resolv_conf = kubectl(&host, "exec web -c main -- cat /etc/resolv.conf").ok();
    assert!(resolv_conf.contains("nameserver 10.96.0.10") && resolv_conf.contains("options ndots:5"), "{resolv_conf}");
    // Two containers share the network, System V IPC, the host name and /dev/shm.
    let both = |script: &str| ["main", "side"].map(|c| kubectl(&host, &format!("exec web -c {c} -- {script}")).ok());
    for script in ["readlink /proc/self/ns/net", "readlink /proc/self/ns/ipc", "readlink /proc/self/ns/uts"] {
        let [one, other] = both(script);
        assert_eq!(one, other, "{script}");
    }
    kubectl(&host, "exec web -c main -- touch /dev/shm/here").ok();
    kubectl(&host, "exec web -c side -- ls /dev/shm/here").ok();
    // From the host, by the host's port, and from containers and back.
    assert_eq!(host.sh("curl -s 192.0.2.1:8080").ok(), "hello");
    assert_eq!(host.docker(&format!("run --rm busybox get {address}:80")).ok(), "hello");
    host.docker("run -d --name peer busybox httpd -f -p 80 -h /var/www").ok();
    let peer = host.docker("inspect peer -f {{.NetworkSettings.IPAddress}}").ok();
    assert_eq!(kubectl(&host, &format!("exec web -c side -- get {peer}:80")).ok(), "hello");
    host.docker("network rm kube-pods").fails_with("cannot be removed");
    // Files follow what they are made of.
    kubectl(&host, "patch configmap settings -p '{\"data\":{\"b\":\"changed\"}}'").ok();
    eventually("the file changes", || {
        (kubectl(&host, "exec web -c main -- cat /settings/b").out.trim() == "changed").then_some(())
    });
}

#[test]
fn pods_outlive_the_daemon_and_end_when_asked() {
    let Some(host) = node() else { return };
    apply(&host, "web.yaml");
    until(&host, "web", READY, "True");
    let before = field(&host, "web", ".status.containerStatuses[*].containerID");
    host.kill_daemon();
    host.start_daemon();
    eventually("the API answers", || (kubectl(&host, "get pods").code == 0).then_some(()));
    until(&host, "web", READY, "True");
    assert_eq!(field(&host, "web", ".status.containerStatuses[*].containerID"), before);
    assert_eq!(field(&host, "web", ".status.containerStatuses[*].restartCount"), "0 0");
    // Somebody takes a container away: it comes again.
    host.docker("rm -f $(docker ps -q --filter name=k8s_side_web)").ok();
    until(&host, "web", ".status.containerStatuses[?(@.name==\"side\")].restartCount", "1");
    kubectl(&host, "delete pod web --timeout=60s").ok();
    assert_eq!(host.docker("ps -aq --filter name=k8s_").ok(), "");
    assert_eq!(host.sh("ls /run/linkspan/pods /run/linkspan/sandboxes 2>/dev/null | grep -v :").out.trim(), "");
}

#[test]
fn pods_crash_fail_and_succeed() {
    let Some(host) = node() else { return };
    apply(&host, "lives.yaml");
    until(&host, "crashes", ".status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    assert_eq!(field(&host, "crashes", ".status.containerStatuses[0].lastState.terminated.exitCode"), "3");
    assert_eq!(field(&host, "crashes", ".status.containerStatuses[0].lastState.terminated.message"), "last words\n");
    let previous = kubectl(&host, "logs crashes --previous").ok();
    assert_eq!(previous, "crash");
    until(&host, "succeeds", ".status.phase", "Succeeded");
    assert_eq!(kubectl(&host, "logs succeeds").ok(), "done");
    until(&host, "fails", ".status.phase", "Failed");
    until(&host, "no-image", ".status.containerStatuses[0].state.waiting.reason", "ErrImageNeverPull");
    until(&host, "no-config", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError");
    until(&host, "no-program", ".status.containerStatuses[0].lastState.terminated.reason", "StartError");
    until(&host, "unhealthy", ".status.containerStatuses[0].restartCount", "1");
    until(&host, "of-host", READY, "True");
    assert_eq!(field(&host, "of-host", ".status.podIP"), field(&host, "of-host", ".status.hostIP"));
    let events = kubectl(&host, "get events -o 'jsonpath={.items[*].reason}'").ok();
    for reason in ["Pulled", "Created", "Started", "BackOff", "Killing", "Unhealthy", "Failed"] {
        assert!(events.split(' ').any(|found| found == reason), "{reason}: {events}");
    }
}

#[test]
fn commands_and_ports_of_a_pod() {
    let Some(host) = node() else { return };
    apply(&host, "web.yaml");
    until(&host, "web", READY, "True");
    for variables in ["", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false"] {
        let kubectl = |words: &str| {
            host.sh(&format!(
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
    let tail = kubectl(&host, "logs web -c main --tail=1 --timestamps").ok();
    assert!(tail.starts_with("20") && tail.lines().count() == 1, "{tail}");
}
