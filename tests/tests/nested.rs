//! Docker's own engine in a container. (The walk has the host's socket and a whole linkspan in one.)

use conformance::{From, Host, eventually};

#[test]
fn dockers_own_engine_in_a_container() {
    let Some(host) = Host::start() else { return };
    if host.sh("command -v dockerd").code != 0 {
        eprintln!("SKIPPED: dockerd is not installed, so it is not run in a container");
        return;
    }
    // The host's own programs, which need no image. Groups are made in its own, of which version 2 wants the processes apart, and not in
    // the tree of systemd, which is one for all.
    let programs = ["/usr", "/lib", "/lib64", "/etc/alternatives"].map(|path| format!("-v {path}:{path}:ro")).join(" ");
    let begin = "mkdir -p /sys/fs/cgroup/init; echo $$ > /sys/fs/cgroup/init/cgroup.procs; umount /sys/fs/cgroup/systemd; exec dockerd";
    let image = host.path().join("busybox.tar");
    let run = |more: &str| {
        let mounts = format!("{programs} -v data:/var/lib/docker -v {}:/image.tar:ro", image.display());
        let path = "-e PATH=/usr/sbin:/usr/bin:/sbin:/bin";
        host.docker(&format!("run -d --privileged --name outer {mounts} {path} {more} busybox sh -c '{begin}'")).ok();
        eventually("the inner engine answers", || (host.docker("exec outer docker version").code == 0).then_some(()));
    };
    let inner = |words: &str| host.docker(&format!("exec outer docker {words}"));
    run("-p 9000:8080");
    inner("import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' /image.tar busybox").ok();
    assert_eq!(inner("run --rm -m 64m --pids-limit 50 busybox echo nested").ok(), "nested");
    inner("run -d -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    host.reaches(From::Outside, "192.0.2.1:9000");
    inner("network create mine").ok();
    inner("run -d --name web --network mine busybox httpd -f -p 80 -h /var/www").ok();
    eventually("a name of the inner network", || {
        (inner("run --rm --network mine busybox get web:80").out.trim() == "hello").then_some(())
    });
    inner("run --rm -v kept:/kept busybox sh -c 'echo kept > /kept/file'").ok();
    // Another one goes on with its data.
    host.docker("rm -f outer").ok();
    run("");
    assert_eq!(inner("run --rm -v kept:/kept busybox cat /kept/file").ok(), "kept");
}
