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
    // Its end is told before its links are taken away.
    eventually("the kernel is as it must be", || (host.linkspan("diff").code == 0).then_some(()));
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
    let Some(host) = Host::empty() else { return };
    host.sh("sysctl -w net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0").ok();
    host.start_daemon();
    host.load_image();
    host.docker("network create --ipv6 mine").ok();
    host.docker("run -d --name web --init -p 8080:80 --network mine busybox sleep 1000").ok();
    host.docker("run -d --name other --init -p 8081:80 busybox sleep 1000").ok();
    host.linkspan("down").ok();
    assert_eq!(host.sh("nft list ruleset").ok(), "");
    assert_eq!(host.sh("ip -o link | grep -v -e ' lo:' -e uplink; true").ok(), "");
    assert_eq!(host.sh("ls -d /run/linkspan /run/docker.sock 2>/dev/null; true").ok(), "");
    assert_eq!(host.sh("grep linkspan/netns /proc/self/mountinfo; true").ok(), "");
    // Nobody keeps others' packets from passing any more.
    assert_eq!(host.sh("sysctl -n net.ipv4.ip_forward net.ipv6.conf.all.forwarding").ok(), "0\n0");
    eventually("the shims have ended", || (host.sh("ps -eo args | grep -c '[s]him '; true").ok() == "0").then_some(()));
}
