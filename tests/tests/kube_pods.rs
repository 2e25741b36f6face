//! Pods with the real kubectl: what they run with, how they live, how they end, and how they are reached.

use conformance::{Cluster, eventually};

#[test]
fn a_pod_runs_with_all_that_it_asks_for() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("web.yaml");
    cluster.until_ready("web");
    let address = cluster.field("web", ".status.podIP");
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
    cluster.apply_file("web.yaml");
    cluster.until_ready("web");
    let before = cluster.field("web", ".status.containerStatuses[*].containerID");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually("the API answers", || (cluster.kubectl("get pods").code == 0).then_some(()));
    cluster.until_ready("web");
    assert_eq!(cluster.field("web", ".status.containerStatuses[*].containerID"), before);
    assert_eq!(cluster.field("web", ".status.containerStatuses[*].restartCount"), "0 0");
    // Somebody takes a container away: it comes again, also where a daemon that was killed had not come to write the pod's files.
    let pods = cluster.host.data_root().join("pods").display().to_string();
    cluster.host.sh(&format!("rm {pods}/*/etc-hosts {pods}/*/resolv.conf")).ok();
    cluster.host.docker("rm -f $(docker ps -q --filter name=k8s_side_web)").ok();
    cluster.until("web", ".status.containerStatuses[?(@.name==\"side\")].restartCount", "1");
    reboot(&cluster);
    cluster.until("web", ".status.containerStatuses[?(@.name==\"main\")].restartCount", "1");
    cluster.until_ready("web");
    assert_eq!(cluster.host.sh("curl -s 192.0.2.1:8080").ok(), "hello");
    cluster.kubectl("delete pod web --timeout=60s").ok();
    assert_eq!(cluster.host.docker("ps -aq --filter name=k8s_").ok(), "");
    assert_eq!(cluster.host.sh("ls /run/linkspan/pods /run/linkspan/sandboxes 2>/dev/null | grep -v :").out.trim(), "");
}

/// All that a reboot takes away goes: processes, what the kernel has of the network, and what is in memory.
fn reboot(cluster: &Cluster) {
    let host = &cluster.host;
    let pids = host.docker("ps -q | xargs docker inspect -f {{.State.Pid}}").ok().replace('\n', " ");
    host.kill_daemon();
    host.sh(&format!("kill -9 $(pgrep -f '[s]him /run/linkspan/') {pids}")).ok();
    host.sh("nft flush ruleset; for link in docker0 kube-pods; do ip link del $link; done").ok();
    host.sh("awk '$2 ~ \"^/run/linkspan/\" { print $2 }' /proc/mounts | sort -r | xargs umount; rm -rf /run/linkspan")
        .ok();
    host.start_daemon();
    eventually("the API answers", || (cluster.kubectl("get pods").code == 0).then_some(()));
}

#[test]
fn pods_crash_fail_and_succeed() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("lives.yaml");
    cluster.until("crashes", ".status.containerStatuses[0].state.waiting.reason", "CrashLoopBackOff");
    assert_eq!(cluster.field("crashes", ".status.containerStatuses[0].lastState.terminated.exitCode"), "3");
    assert_eq!(cluster.field("crashes", ".status.containerStatuses[0].lastState.terminated.message"), "last words\n");
    let previous = cluster.kubectl("logs crashes --previous").ok();
    assert_eq!(previous, "crash");
    cluster.until("succeeds", ".status.phase", "Succeeded");
    assert_eq!(cluster.kubectl("logs succeeds").ok(), "done");
    cluster.until("fails", ".status.phase", "Failed");
    cluster.until("no-image", ".status.containerStatuses[0].state.waiting.reason", "ErrImageNeverPull");
    cluster.until("no-config", ".status.containerStatuses[0].state.waiting.reason", "CreateContainerConfigError");
    cluster.until("no-program", ".status.containerStatuses[0].lastState.terminated.reason", "StartError");
    cluster.until("unhealthy", ".status.containerStatuses[0].restartCount", "1");
    cluster.until_ready("of-host");
    assert_eq!(cluster.field("of-host", ".status.podIP"), cluster.field("of-host", ".status.hostIP"));
    let events = cluster.kubectl("get events -o 'jsonpath={.items[*].reason}'").ok();
    for reason in ["Pulled", "Created", "Started", "BackOff", "Killing", "Unhealthy", "Failed"] {
        assert!(events.split(' ').any(|found| found == reason), "{reason}: {events}");
    }
}

#[test]
fn commands_and_ports_of_a_pod() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply_file("web.yaml");
    cluster.until_ready("web");
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
