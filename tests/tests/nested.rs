//! Docker in docker: the host's socket in a container, a whole linkspan in one, and Docker's own engine in one.

use std::path::Path;

use conformance::{From, Host, Terminal, eventually};

/// Mounts the docker command, which needs no libraries, and our binary into a container.
fn programs() -> String {
    let here = std::env::current_exe().unwrap();
    let ours = here.parent().and_then(Path::parent).unwrap().join("linkspan");
    format!("-v {}:/bin/linkspan:ro -v $(readlink -f $(command -v docker)):/bin/docker:ro", ours.display())
}

#[test]
fn the_hosts_socket_in_a_container() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name sibling busybox sleep 1000").ok();
    let inside = format!("run --rm --name asker -v /var/run/docker.sock:/var/run/docker.sock {} busybox", programs());
    // All of them: it may ask before the daemon has heard that it runs.
    let names = host.docker(&format!("{inside} docker ps -a --format '{{{{.Names}}}}'")).ok();
    println!("seen from inside: {names}");
    assert_eq!(names, "asker\nsibling");
    host.docker(&format!("{inside} docker run -d --name child busybox sleep 1000")).ok();
    assert_eq!(host.docker("inspect -f '{{.State.Status}}' child").ok(), "running");
}

#[test]
fn a_linkspan_in_a_container() {
    let Some(host) = Host::start() else { return };
    let image = host.path().join("busybox.tar");
    let run = format!("run -d --privileged {} -v {}:/image.tar:ro", programs(), image.display());

    // Overlays cannot be stacked on an overlay.
    host.docker(&format!("{run} --name bare busybox linkspan up")).ok();
    assert_eq!(host.docker("wait bare").ok(), "1");
    let said = host.docker("logs bare").err;
    println!("without a volume: {said}");
    assert!(said.contains("overlayfs") && said.contains("-v linkspan:/var/lib/linkspan"), "{said}");

    host.docker(&format!("{run} --name outer -p 9000:8080 -v data:/var/lib/linkspan busybox linkspan up")).ok();
    let inner = |words: &str| host.docker(&format!("exec outer docker {words}"));
    eventually("the inner daemon answers", || (inner("version").code == 0).then_some(()));
    // Its default network steps over the outer one's.
    let subnet = "network inspect bridge -f '{{(index .IPAM.Config 0).Subnet}}'";
    assert_eq!((host.docker(subnet).ok().as_str(), inner(subnet).ok().as_str()), ("172.17.0.0/16", "172.18.0.0/16"));
    inner("import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin' /image.tar busybox").ok();
    assert_eq!(inner("run --rm busybox echo nested").ok(), "nested");
    inner("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    eventually("the inner server is up", || {
        (host.docker("exec outer get 127.0.0.1:8080").out.trim() == "hello").then_some(())
    });
    let address = host.docker("inspect -f '{{.NetworkSettings.IPAddress}}' outer").ok();
    host.reaches(From::Host, &format!("{address}:8080"));
    host.reaches(From::Outside, "192.0.2.1:9000");
    let mut at = Terminal::docker(&host, "exec -it outer docker run --rm -it busybox sh -c 'stty size; exit 9'");
    at.shows("30 90");
    assert_eq!(at.ends().0, Some(9));
    inner("rm -f web").ok();
    host.docker("stop -t 5 outer").ok();
    // The data is on the volume: another one goes on with it.
    host.docker("rm outer").ok();
    host.docker(&format!("{run} --name outer -v data:/var/lib/linkspan busybox linkspan up")).ok();
    eventually("the inner daemon answers", || (inner("version").code == 0).then_some(()));
    assert_eq!(inner("run --rm busybox echo again").ok(), "again");
}

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
