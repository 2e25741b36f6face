//! The daemon starts where it should not, or finds what it did not leave: it says what is wrong and what to do, harms nobody, and what
//! was acknowledged is there when it starts in the end.

use conformance::{Host, eventually};

/// `linkspan up` on directories of its own, which ends by itself when it refuses.
fn up(host: &Host, name: &str, options: &str) -> conformance::Said {
    let place = host.path().join(name);
    host.linkspan(&format!("up --data-root {0}/data --run-dir {0}/run {options}", place.display()))
}

#[test]
fn two_daemons_do_not_meet() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web busybox sleep 1000").ok();
    let serves = || assert_eq!(host.docker("ps --format {{.Names}}").ok(), "web", "the first is as it was");
    let same_run = format!("up --data-root {}/elsewhere", host.path().display());
    host.linkspan(&same_run).fails_with("another linkspan runs with the run directory /run/linkspan");
    serves();
    let same_data = format!("up --data-root {} --run-dir /run/second", host.data_root().display());
    host.linkspan(&same_data).fails_with("is in use: another linkspan runs on this data root");
    serves();
    up(&host, "other", "--docker-socket /run/docker.sock").fails_with("another program answers on /run/docker.sock");
    serves();
    let nothing_in_common = format!("up --data-root {}/elsewhere --run-dir /run/second", host.path().display());
    host.linkspan(&nothing_in_common).fails_with("another linkspan (pid ");
    let apart = format!("unshare --pid --fork --kill-child {} {nothing_in_common}", conformance::binary().display());
    host.sh(&apart).fails_with("another linkspan (in another pid namespace) keeps this host's network");
    serves();
    // One who is not root holds nobody up.
    host.kill_daemon();
    let bind = "import os, socket, time; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.bind('\\0linkspan'); s.listen()";
    host.sh(&format!("python3 -c \"{bind}; print('bound', flush=True); time.sleep(1000)\" >/run/bound 2>&1 &")).ok();
    eventually("the name is taken", || (host.sh("cat /run/bound").ok() == "bound").then_some(()));
    host.start_daemon();
    serves();
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let Some(host) = Host::start() else { return };
    host.sh("echo precious > /run/precious").ok();
    up(&host, "other", "--docker-socket /run/precious").fails_with("/run/precious: it is there and is no socket");
    assert_eq!(host.sh("cat /run/precious").ok(), "precious");
}

#[test]
fn a_stale_socket_is_replaced() {
    let Some(host) = Host::empty() else { return };
    // What a killed daemon leaves.
    let bound = "import socket; socket.socket(socket.AF_UNIX).bind('/run/docker.sock')";
    host.sh(&format!("python3 -c \"{bound}\"; test -S /run/docker.sock")).ok();
    host.start_daemon();
    assert_eq!(host.sh("stat -c '%a %G' /run/docker.sock").ok(), "660 docker");
}

#[test]
fn places_that_cannot_be_used_are_named() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web busybox sleep 1000").ok();
    host.kill_daemon();
    let data = host.data_root().display().to_string();
    // What SQLite still has in its log belongs to it.
    host.sh(&format!("sqlite3 {data}/state.db 'pragma wal_checkpoint(truncate)' && rm -f {data}/state.db-*")).ok();
    let start = || host.linkspan(&format!("up --data-root {data}"));
    // A disk that the kernel made read-only for its errors.
    host.sh(&format!("mount --bind {data} {data} && mount -o remount,bind,ro {data}")).ok();
    start().fails_with("ead-only file system");
    host.sh(&format!("umount {data}")).ok();
    // The journal is a directory, or somebody else's database.
    host.sh(&format!("mv {data}/state.db {data}/kept; mkdir {data}/state.db")).ok();
    start().fails_with(&format!("{data}/state.db"));
    host.sh(&format!("rmdir {data}/state.db; sqlite3 {data}/state.db 'create table theirs (x)'")).ok();
    start().fails_with("is not a linkspan journal");
    host.sh(&format!("rm {data}/state.db; mv {data}/kept {data}/state.db")).ok();
    // The data root or the run directory is a file.
    host.sh("echo > /run/file").ok();
    host.linkspan("up --data-root /run/file").fails_with("cannot make /run/file");
    host.linkspan(&format!("up --data-root {data} --run-dir /run/file")).fails_with("cannot make /run/file");
    host.linkspan("up --config /run/missing.toml").fails_with("/run/missing.toml");
    host.start_daemon();
    assert_eq!(host.docker("ps --format {{.Names}}").ok(), "web", "nothing was harmed by the refusals");
    // Without its run directory, as after a reboot, it makes one.
    host.docker("rm -f web").ok();
    host.kill_daemon();
    host.sh("umount /run/linkspan/netns; rm -rf /run/linkspan /run/docker.sock").ok();
    host.start_daemon();
    host.docker("run --rm --name again busybox true").ok();
}
