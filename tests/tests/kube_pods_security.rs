//! Who the processes of a pod are, what they may do, and with whom they share, with the real kubectl.

use conformance::{Cluster, eventually_fits};

#[test]
fn security_contexts_and_shared_namespaces() {
    let Some(cluster) = Cluster::start() else { return };
    let profile =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let dir = cluster.host.data_root().join("seccomp");
    cluster.host.sh(&format!("mkdir -p {0}; echo '{profile}' > {0}/no-mkdir.json", dir.display())).ok();
    cluster.apply_file("security.yaml");
    who(&cluster);
    powers(&cluster);
    settings(&cluster);
    of_host(&cluster);
    together(&cluster);
}

fn run(cluster: &Cluster, pod: &str, container: &str, script: &str) -> String {
    let said = cluster.kubectl(&format!("exec {pod} -c {container} -- sh -c '{}'", script.replace('\'', "'\\''")));
    format!("{}{}", said.out, said.err).trim().to_owned()
}

fn who(cluster: &Cluster) {
    cluster.until_ready("who");
    assert_eq!(run(cluster, "who", "pods", "id -u; id -G"), "1000\n2000 3000 4000");
    assert_eq!(run(cluster, "who", "own", "id -u; id -G"), "1001\n2001 3000 4000");
    cluster.until_ready("only-these");
    assert_eq!(run(cluster, "only-these", "main", "id -u; id -G"), "0\n0 4000");
    let refused = |pod: &str, words: &str| {
        cluster.until_shown(pod, "CreateContainerConfigError");
        let message = cluster.field(pod, ".status.containerStatuses[0].state.waiting.message");
        let uid = cluster.field(pod, ".metadata.uid");
        assert_eq!(message, format!("{words} (pod: \"{pod}_default({uid})\", container: main)"));
        cluster.until_told(pod, &format!("Failed Error: {words}"));
    };
    refused("no-root", "container has runAsNonRoot and image will run as root");
    refused("no-root-user", "container's runAsUser breaks non-root policy");
}

fn powers(cluster: &Cluster) {
    cluster.until_ready("powers");
    let status = |container: &str, field: &str| {
        run(cluster, "powers", container, &format!("grep {field}: /proc/1/status | cut -f2"))
    };
    // What containers have by default, a port below 1024 alone, and everything.
    assert_eq!(status("usual", "CapEff"), "00000000a80425fb");
    assert_eq!(status("less", "CapEff"), "0000000000000400");
    assert_eq!(status("all", "CapEff"), status("all", "CapBnd"));
    for (container, no_new, filter) in
        [("usual", "0", "0"), ("less", "1", "2"), ("all", "0", "0"), ("profile", "0", "2")]
    {
        assert_eq!(
            (status(container, "NoNewPrivs"), status(container, "Seccomp")),
            (no_new.into(), filter.into()),
            "{container}"
        );
    }
    assert!(run(cluster, "powers", "less", "touch /new").contains("Read-only file system"));
    assert_eq!(run(cluster, "powers", "usual", "touch /new && ls /new"), "/new");
    assert_eq!(run(cluster, "powers", "all", "mkdir /m && mount -t tmpfs tmpfs /m && echo mounted"), "mounted");
    assert!(run(cluster, "powers", "usual", "mkdir /m; mount -t tmpfs tmpfs /m").contains("permission denied"));
    assert!(run(cluster, "powers", "profile", "mkdir /m").contains("Operation not permitted"));
    cluster.until_shown("no-profile", "CreateContainerConfigError");
}

fn settings(cluster: &Cluster) {
    cluster.until_ready("set");
    let read = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced";
    assert_eq!(run(cluster, "set", "main", read), "81\n1");
    cluster.until_shown("unsafe", "SysctlForbidden");
    let message = "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted";
    assert_eq!(cluster.field("unsafe", ".status.message"), message);
    assert_eq!(cluster.field("unsafe", ".status.phase"), "Failed");
}

fn of_host(cluster: &Cluster) {
    cluster.until_ready("of-host");
    let script = "for kind in net pid ipc uts mnt; do readlink /proc/self/ns/$kind; done";
    let (inside, outside) = (run(cluster, "of-host", "main", script), cluster.host.sh(script).ok());
    let (inside, outside): (Vec<_>, Vec<_>) = (inside.lines().collect(), outside.lines().collect());
    assert_eq!(inside[..4], outside[..4]);
    assert_ne!(inside[4], outside[4]);
    assert!(run(cluster, "of-host", "main", "ps -o args").contains("linkspan up"));
}

fn together(cluster: &Cluster) {
    cluster.until_ready("together");
    let seen = run(cluster, "together", "one", "ps -o pid,args");
    assert!(seen.contains("sleep 1234") && seen.contains("sleep 4321"), "{seen}");
    assert!(seen.lines().any(|line| line.trim().starts_with("1 ") && line.contains("linkspan reaper wait")), "{seen}");
    // The first process belongs to nobody in the pod, and leads nowhere.
    assert!(run(cluster, "together", "one", "ls /proc/1/root/").contains("Permission denied"));
    assert_eq!(run(cluster, "together", "other", "ls /proc/1/root/"), "reaper");
    assert!(run(cluster, "together", "one", "kill -9 1; ls /proc/1/root/").contains("Permission denied"));
    // One of them ends the other's process, and that container alone starts again.
    run(cluster, "together", "one", "for p in $(pidof sleep); do grep -q 4321 /proc/$p/cmdline && kill -9 $p; done");
    let restarts = || cluster.field("together", ".status.containerStatuses[*].restartCount");
    eventually_fits("the other one is started again", restarts, |found| found == "0 1");
    cluster.until_ready("together");
    let again = run(cluster, "together", "one", "ps -o args");
    assert!(again.contains("sleep 4321"), "{again}");
    // A debugger sees them too.
    cluster.kubectl("debug together --image=busybox:1 -c look -- sleep 5555").ok();
    eventually_fits(
        "the debugger is there",
        || run(cluster, "together", "one", "ps -o args"),
        |all| all.contains("sleep 5555"),
    );
    // A restart of the daemon changes nothing.
    let id = cluster.field("together", ".status.containerStatuses[*].containerID");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually_fits("the API answers", || cluster.field("together", ".metadata.name"), |name| name == "together");
    cluster.until_ready("together");
    assert_eq!(cluster.field("together", ".status.containerStatuses[*].containerID"), id);
    cluster.kubectl("delete pod together").ok();
    let left = || cluster.host.sh("ps -eo args | grep -c '^linkspan reaper'; true").out;
    eventually_fits("its first process ends with it", left, |count| count.trim() == "0");
}
