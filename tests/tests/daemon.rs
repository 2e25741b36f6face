//! What happens to containers and their network when the daemon, the rules or the links go away.

use conformance::{From, Host, eventually};

#[test]
fn containers_outlive_the_daemon() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    host.docker("network create mine").ok();
    host.docker("run -d --name short --network mine busybox sh -c 'sleep 1; exit 5'").ok();
    let facts =
        || host.docker("inspect -f '{{.State.Pid}} {{.NetworkSettings.IPAddress}} {{.State.StartedAt}}' web").ok();
    let before = facts();
    host.kill_daemon();
    // While there is no daemon.
    host.reaches(From::Outside, "192.0.2.1:8080");
    host.start_daemon();
    assert_eq!(facts(), before);
    host.reaches(From::Outside, "192.0.2.1:8080");
    assert_eq!(host.docker("wait short").ok(), "5");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    host.docker("exec web true").ok();
    host.docker("rm -f web").ok();
    host.outside("curl -s -m 2 http://192.0.2.1:8080").fails();
}

#[test]
fn a_flushed_ruleset_is_put_right() {
    let Some(host) = Host::start() else { return };
    host.docker("run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www").ok();
    host.sh("nft flush ruleset").ok();
    eventually("the port answers again", || {
        (host.outside("curl -s -m 1 http://192.0.2.1:8080").out.trim() == "hello").then_some(())
    });
    eventually("an event tells of it", || {
        let events = host.docker("events --since 1h --until $(date +%s) --format '{{.Type}} {{.Action}}'").ok();
        events.contains("daemon repair").then_some(())
    });
    host.sh("ip link del docker0").ok();
    eventually("the bridge is back", || {
        (host.outside("curl -s -m 1 http://192.0.2.1:8080").out.trim() == "hello").then_some(())
    });
}

#[test]
fn nothing_stays() {
    let Some(host) = Host::start() else { return };
    host.docker("network create mine").ok();
    host.docker("run -d --name web --init -p 8080:80 --network mine busybox sleep 1000").ok();
    host.linkspan("down").ok();
    assert_eq!(host.sh("nft list ruleset").ok(), "");
    let links = || host.sh("ip -o link | grep -v -e ' lo:' -e uplink | wc -l").ok();
    eventually("the kernel has let the links go", || (links() == "0").then_some(()));
    assert_eq!(
        host.sh("ls /run/linkspan/netns /run/linkspan/containers 2>/dev/null | grep -c '^[0-9a-f]'; true").ok(),
        "0"
    );
    eventually("the shims have ended", || (host.sh("ps -eo args | grep -c '[s]him '; true").ok() == "0").then_some(()));
}
