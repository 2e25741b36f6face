//! The data root's file system is full: each request says so, nothing stays of it, and everything works when there is space again.

use std::fs;

use conformance::{From, Host, eventually};

/// A data root of so many MiB, and so many inodes.
const SIZE: &str = "size=48m,nr_inodes=4000";

fn on_small_disk() -> Option<Host> {
    let host = Host::empty()?;
    let data = host.data_root();
    host.sh(&format!("mkdir -p {0} && mount -t tmpfs -o {SIZE} tmpfs {0}", data.display())).ok();
    host.start_daemon();
    host.load_image();
    Some(host)
}

#[test]
fn no_space_is_left() {
    let Some(host) = on_small_disk() else { return };
    let data = host.data_root();
    full(
        &host,
        &format!("dd if=/dev/zero of={}/ballast bs=4k 2>/dev/null; true", data.display()),
        &format!("rm {}/ballast", data.display()),
    );
}

#[test]
fn no_inode_is_left() {
    let Some(host) = on_small_disk() else { return };
    let data = host.data_root();
    let fill = format!("mkdir {0}/ballast; cd {0}/ballast; seq 100000 | xargs touch 2>/dev/null; true", data.display());
    full(&host, &fill, &format!("rm -r {}/ballast", data.display()));
}

fn full(host: &Host, fill: &str, free: &str) {
    host.docker("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    host.docker("run -d --name ends busybox sleep 1000").ok();
    host.docker("run -d --name talks busybox sh -c 'while :; do echo talks; sleep 0.01; done'").ok();
    host.docker("stop -t 0 talks").ok();
    host.docker("start talks").ok();
    let before = host.sh("ls /run/linkspan/netns | wc -l").ok();
    host.sh(fill).ok();
    for _ in 0..3 {
        let said = host.docker("run --name refused busybox true");
        assert!(said.err.contains("o space left on device") || said.err.contains("free some space"), "{said:?}");
        host.docker("rm -f refused");
    }
    // The answer may come while docker still sends, and then it sees only that nobody takes the rest; another client reads it.
    let archive = host.path().join("busybox.tar");
    host.sh(&format!("docker import - another < {}", archive.display())).fails();
    let import = "POST /v1.50/images/create?fromSrc=-&repo=another";
    let (status, said) = host.send(import, "application/x-tar", &fs::read(archive).expect("the archive"));
    assert!(said.contains("o space left on device"), "{status} {said}");
    // What runs goes on.
    host.reaches(From::Outside, "192.0.2.1:8080");
    assert_eq!(host.sh("ls /run/linkspan/netns | wc -l").ok(), before, "namespaces");
    host.sh("kill -9 $(docker inspect -f {{.State.Pid}} ends)").ok();
    host.sh(free).ok();
    eventually("an end in the meantime is known", || {
        (host.docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' ends").ok() == "exited 137").then_some(())
    });
    assert_eq!(host.docker("run --rm --name again busybox echo again").ok(), "again");
    assert_eq!(host.docker("inspect -f {{.State.Running}} talks").ok(), "true", "a log that stalled kills nobody");
    host.sh("docker rm -f $(docker ps -aq)").ok();
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    assert_eq!(host.sh("ls /run/linkspan/netns /run/linkspan/containers | grep '^[0-9a-f]'; true").ok(), "");
    let left = host.sh(&format!(
        "ls {}/containers; find {} -path '*snapshots/*' | head",
        host.data_root().display(),
        host.data_root().display()
    ));
    assert_eq!(left.out.trim(), "");
    host.kill_daemon();
    host.start_daemon();
    host.docker("images").ok();
}
