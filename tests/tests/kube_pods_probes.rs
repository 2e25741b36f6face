//! Probes and hooks of pods with the real kubectl, each of every kind.

use conformance::{Cluster, eventually, eventually_fits};

#[test]
fn probes_and_hooks() {
    let Some(cluster) = Cluster::start() else { return };
    certificate(&cluster);
    cluster.apply_file("probes.yaml");
    asked(&cluster);
    failing(&cluster);
    hooks(&cluster);
}

/// A certificate and its key in one file, as socat takes them.
fn certificate(cluster: &Cluster) {
    let make = "
        openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=probed -keyout /run/key -out /run/cert 2>/dev/null
        cat /run/key /run/cert > /run/both.pem";
    cluster.host.sh(make).ok();
    eventually("the secret is made", || {
        (cluster.kubectl("create secret generic pair --from-file=/run/both.pem").code == 0).then_some(())
    });
}

fn asked(cluster: &Cluster) {
    let ready = |name: &str| cluster.field("asked", &format!(".status.containerStatuses[?(@.name==\"{name}\")].ready"));
    let until = |name: &str, expected: &str| {
        eventually_fits(&format!("{name} ready: {expected}"), || ready(name), |found| found == expected);
    };
    for name in ["http", "https", "grpc"] {
        until(name, "true");
    }
    for name in ["tcp", "exec"] {
        until(name, "false");
    }
    let log = cluster.kubectl("exec asked -c http -- tail -n 1 /tmp/asked").ok();
    assert!(log.starts_with("GET /ready?x=1 HTTP/1.1|Host: shop.example|User-Agent: kube-probe/1."), "{log}");
    let log = cluster.kubectl("exec asked -c https -- tail -n 1 /tmp/asked").ok();
    assert!(log.starts_with("GET / HTTP/1.1|Host: 10.244."), "{log}");
    let started =
        |name: &str| cluster.field("asked", &format!(".status.containerStatuses[?(@.name==\"{name}\")].started"));
    assert_eq!((started("tcp"), started("exec")), ("false".to_owned(), "true".to_owned()));
    let condition = |part: &str| cluster.field("asked", &format!(".status.conditions[?(@.type==\"Ready\")].{part}"));
    eventually_fits(
        "the pod says who is not ready",
        || condition("message"),
        |message| message == "containers with unready status: [tcp exec]",
    );
    assert_eq!(condition("reason"), "ContainersNotReady");
    cluster.until_told("asked", "Unhealthy Readiness probe failed: not yet");
    let address = cluster.field("asked", ".status.podIP");
    let refused = format!("Unhealthy Startup probe failed: dial tcp {address}:9000: connect: connection refused");
    cluster.until_told("asked", &refused);

    cluster.kubectl("exec asked -c tcp -- touch /tmp/open").ok();
    cluster.kubectl("exec asked -c exec -- touch /tmp/ready").ok();
    cluster.until_ready("asked");
    // A health that is not serving, and back.
    cluster.kubectl("exec asked -c grpc -- sh -c 'echo 2 > /tmp/health'").ok();
    until("grpc", "false");
    cluster.until_told("asked", "Unhealthy Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")");
    cluster.kubectl("exec asked -c grpc -- rm /tmp/health").ok();
    cluster.until_ready("asked");
    assert_eq!(cluster.field("asked", ".status.containerStatuses[*].restartCount"), "0 0 0 0 0");
}

fn failing(cluster: &Cluster) {
    cluster.until_told("never-starts", "Killing Container main failed startup probe, will be restarted");
    cluster.until_told("never-starts", "Unhealthy Startup probe failed: ");
    cluster.until("never-starts", ".status.containerStatuses[0].restartCount", "1");
    // 137: killed, since the probe's own patience was over long before the pod's.
    cluster.until("hangs", ".status.containerStatuses[0].lastState.terminated.exitCode", "137");
    cluster.until_told(
        "hangs",
        "Unhealthy Liveness probe failed: command timed out: \"sh -c sleep 10\" timed out after 1s",
    );
    cluster.until_told("hangs", "Killing Container main failed liveness probe, will be restarted");
}

fn hooks(cluster: &Cluster) {
    let notes = || cluster.host.sh("cat /run/notes/hooked").out;
    cluster.until_ready("hooked");
    assert_eq!(notes(), "started\n");
    cluster.kubectl("delete pod hooked").ok();
    let notes = notes();
    let at = |line: &str| notes.lines().position(|found| found == line).unwrap_or_else(|| panic!("{line}: {notes}"));
    assert!(at("stopping") < at("stopped") && at("stopped") < at("ends"), "{notes}");
    at("sleeper ends");
    let asked = cluster.host.sh("cat /run/notes/http").ok();
    assert!(asked.starts_with("GET /bye HTTP/1.1|"), "{asked}");

    cluster.until_told("bad-hooks", "FailedPostStartHook PostStartHook failed");
    cluster.until_told("bad-hooks", "Killing FailedPostStartHook");
    cluster.until_told("bad-hooks", "FailedPreStopHook PreStopHook failed");
    cluster.until("bad-hooks", ".status.phase", "Succeeded");
}
