//! Volumes of pods with the real kubectl: what is in them, whose it is, how it follows what it is made of, and what does not fit.

use conformance::{Cluster, eventually_fits};

#[test]
fn volumes() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.host.sh("mkdir /run/of-node; echo node > /run/of-node/file").ok();
    cluster.apply_file("volumes.yaml");
    cluster.until_ready("files");
    contents(&cluster);
    writing(&cluster);
    following(&cluster);
    missing(&cluster);
    // Whoever needs more than was agreed has to go.
    cluster.until("fills", ".status.reason", "Evicted");
    assert_eq!(cluster.field("fills", ".status.phase"), "Failed");
    let message = "Usage of EmptyDir volume \"small\" exceeds the limit \"1Mi\". ";
    assert_eq!(cluster.field("fills", ".status.message"), message);
    let reason = ".status.conditions[?(@.type==\"DisruptionTarget\")].reason";
    assert_eq!(cluster.field("fills", reason), "TerminationByKubelet");
    cluster.until_told("fills", "Evicted Usage of EmptyDir volume \"small\" exceeds the limit \"1Mi\".");

    cluster.kubectl("delete pod --all --timeout=60s").ok();
    // Nothing is left, and what is the node's stays.
    assert_eq!(cluster.host.sh("ls /run/linkspan/pods; grep -c /run/linkspan/pods /proc/mounts; true").out.trim(), "0");
    assert_eq!(cluster.host.sh("cat /run/of-node/file /run/of-node/new; ls /run/made").ok(), "node\nnew\n/run/made");
}

fn read(cluster: &Cluster, command: &str) -> String {
    cluster.kubectl(&format!("exec files -c main -- {command}")).out.trim().to_owned()
}

fn contents(cluster: &Cluster) {
    for (file, expected) in [
        ("/settings/a", "one"),
        ("/settings/b", "two"),
        ("/etc/a.conf", "one"),
        ("/chosen/deep/B", "two"),
        ("/keys/key", "secret"),
        ("/keys/other", "more"),
        ("/self/labels", "app=\"shop\""),
        ("/self/memory", "64"),
        ("/all/map/a", "one"),
        ("/all/secret/key", "secret"),
        ("/all/name", "files"),
        ("/node/file", "node"),
        ("/node-file", ""),
    ] {
        assert_eq!(read(cluster, &format!("cat {file}")), expected, "{file}");
    }
    assert_eq!(read(cluster, "ls /chosen"), "deep\nraw");
    assert_eq!(read(cluster, "od -An -tx1 /chosen/raw"), "00 01 02");
    assert_eq!(read(cluster, "ls /perhaps"), "");
    // A group of its own is given the volumes: it may read what is filled for it, and write what it fills itself.
    for (file, expected) in [
        ("/settings/a", "644 3000"),
        ("/chosen/deep/B", "440 3000"),
        ("/chosen/raw", "440 3000"),
        ("/keys/key", "440 3000"),
        ("/scratch", "2777 3000"),
        ("/memory", "2777 3000"),
    ] {
        assert_eq!(read(cluster, &format!("stat -L -c '%a %g' {file}")), expected, "{file}");
    }
    assert_eq!(read(cluster, "id -G"), "0 10 3000");
    let claims = read(cluster, "cut -d. -f2 /all/token");
    let claims = cluster.host.sh(&format!("echo {claims}== | tr _- /+ | base64 -d 2>/dev/null; true")).out;
    assert!(claims.contains("\"aud\":[\"vault\"]") && claims.contains("\"name\":\"files\""), "{claims}");
}

fn writing(cluster: &Cluster) {
    let script = "
        set -e
        echo x > /scratch/x; echo y > /part/y; echo z > /own/z; echo new > /node/new
        cat /scratch/sub/dir/y /scratch/of-files/z /fixed/x
        mount | grep -c 'on /memory type tmpfs'
        df -m /memory | tail -n 1 | tr -s ' ' | cut -d' ' -f2
        echo m > /memory/m
        if echo no > /fixed/no 2>/dev/null; then echo written; fi
        if echo no > /settings/no 2>/dev/null; then echo written; fi
        if head -c 3000000 /dev/zero > /memory/much 2>/dev/null; then echo fits; fi";
    let said = cluster.kubectl(&format!("exec files -c main -- sh -c '{}'", script.replace('\'', "'\\''"))).ok();
    assert_eq!(said, "y\nz\nx\n1\n2");
    let other = cluster.kubectl("exec files -c other -- cat /scratch/x /memory/m").ok();
    assert_eq!(other, "x\nm");
}

fn following(cluster: &Cluster) {
    cluster.kubectl("patch configmap settings -p '{\"data\":{\"a\":\"changed\",\"c\":\"three\",\"b\":null}}'").ok();
    cluster.kubectl("patch secret keys -p '{\"stringData\":{\"key\":\"changed\"}}'").ok();
    cluster.kubectl("label pod files app=other --overwrite").ok();
    cluster.kubectl("create secret generic missing --from-literal=now=there").ok();
    for (command, expected) in [
        ("cat /settings/a", "changed"),
        ("ls /settings", "a\nc\nraw"),
        ("cat /keys/key", "changed"),
        ("cat /all/map/a", "changed"),
        ("cat /all/secret/key", "changed"),
        ("cat /self/labels", "app=\"other\""),
        ("cat /perhaps/now", "there"),
    ] {
        eventually_fits(&format!("{command}: {expected}"), || read(cluster, command), |found| found == expected);
    }
    // What is mounted by itself stays as it was.
    assert_eq!(read(cluster, "cat /etc/a.conf"), "one");
}

fn missing(cluster: &Cluster) {
    let failed = "FailedMount MountVolume.SetUp failed for volume";
    cluster.until_told(
        "no-path",
        &format!("{failed} \"node\" : hostPath type check failed: /run/nothing is not a directory"),
    );
    cluster.until_told("no-map", &format!("{failed} \"map\" : configmap \"late\" not found"));
    cluster.until_told("no-key", &format!("{failed} \"map\" : references non-existent config key: nothing"));
    cluster.until_shown("no-map", "ContainerCreating");
    cluster.kubectl("create configmap late --from-literal=a=b").ok();
    cluster.until_ready("no-map");
}
