//! The files of the Kubernetes API, full or damaged.

use std::fs;

use conformance::{Cluster, Host, eventually, eventually_fits};

use crate::{deploy, until_served};

#[test]
fn damaged_files_are_refused_with_the_remedy() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create configmap here --from-literal=a=b").ok();
    let host = &cluster.host;
    host.kill_daemon();
    let data = host.data_root().display().to_string();
    let settle = "sqlite3 kube.db 'pragma wal_checkpoint(truncate)' && rm -f kube.db-*";
    host.sh(&format!("cd {data} && {settle} && cp -a {data} {data}.kept")).ok();
    let restore = || host.sh(&format!("rm -rf {data} && cp -a {data}.kept {data}")).ok();
    let damage = |how: &str| host.sh(&format!("cd {data} && {how}")).ok();
    for (how, words) in [
        ("echo junk that is long enough to be taken for a database > kube.db", "restore it from a backup"),
        (
            "truncate -s 8192 kube.db",
            "restore it from a backup, or move it away to start without the Kubernetes objects it held",
        ),
        (
            "cp state.db kube.db && rm -f kube.db-*",
            "kube.db is not a linkspan store of Kubernetes objects: move it away",
        ),
        ("rm kube.db && mkdir kube.db", "kube.db is not a linkspan store of Kubernetes objects: move it away"),
        (
            "sqlite3 kube.db 'pragma user_version = 99'",
            "has layout 99 and this linkspan knows 1: use the version that wrote it",
        ),
        ("echo junk > pki/ca.key", "pki/ca.key holds no usable key or certificate"),
        ("rm pki/ca.key", "pki/ca.key is not there, though the certificate is: restore it from a copy"),
        ("cp pki/sa.key pki/ca.key", "pki/ca.key is not the key of"),
        ("rm -rf pki && echo > pki", "pki is not a folder: restore it from a copy, or remove it"),
    ] {
        damage(how);
        // Who asks for Kubernetes by name gets it or nothing; bounded, since what is not refused would serve.
        let said = host.sh(&format!(
            "timeout 50 {} up --data-root {data} --kube-listen 127.0.0.1:6443",
            conformance::binary().display()
        ));
        assert!(said.code == 1 && said.err.contains(words), "{how}\nexpected: {words}\n{said:?}");
        restore();
    }
    // Who did not is told, and has containers.
    damage("truncate -s 8192 kube.db");
    host.start_daemon();
    host.docker("ps").ok();
    eventually_fits(
        "it is told why",
        || host.daemon_log(),
        |log| log.contains("restore it from a backup, or move it away"),
    );
    host.kill_daemon();
    restore();
    host.start_daemon();
    eventually("what was there is there", || (cluster.kubectl("get configmap here").code == 0).then_some(()));
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let Some(host) = Host::empty() else { return };
    let data = host.data_root();
    host.sh(&format!("mkdir -p {0} && mount -t tmpfs -o size=64m tmpfs {0}", data.display())).ok();
    let host = host.with_all_faces();
    host.start_daemon();
    let Some(cluster) = Cluster::on(host) else { return };
    deploy(&cluster);
    cluster.host.sh(&format!("dd if=/dev/zero of={}/ballast bs=4k 2>/dev/null; true", data.display())).ok();
    let file = cluster.host.path().join("large");
    fs::write(&file, "x".repeat(500_000)).expect("a file");
    // What SQLite still has room for in its log it takes.
    let mut number = 0;
    let refused = eventually("writes are refused", || {
        number += 1;
        let said = cluster.kubectl(&format!("create configmap n{number} --from-file={}", file.display()));
        Some(said).filter(|said| said.code != 0)
    });
    assert!(refused.err.contains("free some space"), "{refused:?}");
    // What is there is read, and serves.
    cluster.kubectl("get deployment web").ok();
    until_served(&cluster, "0");
    cluster.host.sh(&format!("rm {}/ballast", data.display())).ok();
    cluster.kubectl("create configmap again --from-literal=a=b").ok();
    cluster.kubectl("set env deployment/web VERSION=1").ok();
    cluster.kubectl("rollout status deployment/web --timeout=50s").ok();
    until_served(&cluster, "1");
    cluster.host.kill_daemon();
    cluster.host.start_daemon();
    eventually("it is there after a restart", || (cluster.kubectl("get configmap again").code == 0).then_some(()));
}
