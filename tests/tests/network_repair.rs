//! What somebody else does to the host's network is noticed and put right, with an event.

use conformance::{From::*, Host, eventually};

#[test]
fn what_others_take_away_comes_back() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 net").ok();
    host.serve("web", "-p 8080:80 --network net");
    host.idle("other", "--network net");
    host.reaches(Outside, "192.0.2.1:8080");
    // From the beginning on, so that none is missed while the client starts.
    let told = host.begin("docker events --since 1 --filter type=daemon --format '{{.Actor.Attributes.repairs}}'");
    let bridge = host.sh("ip -o -4 addr | grep 10.1.0.1/24 | awk '{print $2}'").ok();
    let veth = host.sh(&format!("ip -o link show master {bridge} | head -n 1 | cut -d' ' -f2 | cut -d@ -f1")).ok();
    // No repair is told in the words of the one before, which may be told twice.
    for (harm, repair) in [
        ("nft flush ruleset", "create table host:inet linkspan"),
        ("nft flush chain inet linkspan forward", "change chain host:inet linkspan forward"),
        ("nft delete table inet linkspan", "create table host:inet linkspan"),
        ("nft flush map inet linkspan publish4_to", "create element host:inet linkspan publish4_to"),
        ("ip link del BRIDGE", "create link host:BRIDGE"),
        ("ip link set BRIDGE down", "change link host:BRIDGE"),
        ("ip link set VETH nomaster", "change link host:VETH"),
        ("ip addr del 10.1.0.1/24 dev BRIDGE", "create address host:BRIDGE 10.1.0.1/24"),
        ("ip link set VETH down", "change link host:VETH"),
        ("ip link del VETH", "create link host:VETH"),
        ("sysctl -qw net.ipv4.ip_forward=0", "change sysctl host:net/ipv4/ip_forward"),
        ("sysctl -qw net.ipv4.conf.BRIDGE.route_localnet=0", "change sysctl host:net/ipv4/conf/BRIDGE/route_localnet"),
        ("sysctl -qw net.ipv6.conf.BRIDGE.disable_ipv6=0", "change sysctl host:net/ipv6/conf/BRIDGE/disable_ipv6"),
    ] {
        let [harm, repair] = [harm, repair].map(|text| text.replace("BRIDGE", &bridge).replace("VETH", &veth));
        let before = told.said().lines().count();
        host.sh(&harm).ok();
        eventually(&format!("`{repair}` is told after {harm}"), || {
            told.said().lines().skip(before).any(|line| line.contains(&repair)).then_some(())
        });
        eventually(&format!("right after {harm}"), || {
            (host.linkspan("diff").out.trim() == "The kernel is as it must be.").then_some(())
        });
        host.reaches(Outside, "192.0.2.1:8080");
        host.reaches(Container("other"), "web:80");
    }
}

/// What every other test relies on that asks whether the kernel is as it must be.
#[test]
fn a_difference_is_shown_until_it_is_repaired() {
    let Some(host) = Host::start() else { return };
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    // Of a setting the kernel tells nobody: the daemon looks now and then, and may have looked just before we ask.
    let harm = "sysctl -qw net.ipv4.conf.docker0.route_localnet=0";
    let said = eventually("the difference is shown", || {
        host.sh(harm).ok();
        Some(host.linkspan("diff")).filter(|said| said.code != 0)
    });
    assert_eq!((said.code, said.err.as_str()), (1, ""));
    assert_eq!(said.out.trim(), "~ sysctl host:net/ipv4/conf/docker0/route_localnet = 0 -> 1");
    eventually("it is repaired", || (host.linkspan("diff").code == 0).then_some(()));
    assert_eq!(host.sh("sysctl -n net.ipv4.conf.docker0.route_localnet").ok(), "1");
}

#[test]
fn a_new_daemon_takes_over_what_is_there() {
    let Some(host) = Host::start() else { return };
    host.serve("web", "-p 8080:80");
    // What is made anew gets another number.
    let numbers = || host.sh("nft -a list ruleset; ip -o link | cut -d: -f1,2").ok();
    let before = numbers();
    host.kill_daemon();
    host.start_daemon();
    assert_eq!(numbers(), before);
    host.reaches(Outside, "192.0.2.1:8080");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let Some(host) = Host::start() else { return };
    let foreign = "nft add table inet mine; nft add chain inet mine c '{ type filter hook forward priority 5; policy accept; }'; nft add rule inet mine c tcp dport 9999 drop; ip link add br9 type bridge; ip addr add 10.9.9.1/24 dev br9";
    host.sh(foreign).ok();
    let seen = || host.sh("nft list table inet mine; ip -o addr show br9").ok();
    let before = seen();
    host.serve("web", "-p 9999:80 -p 8080:80");
    host.reaches(Outside, "192.0.2.1:8080");
    host.sh("nft add rule inet mine c tcp dport 80 drop").ok();
    host.misses(Outside, "192.0.2.1:9999");
    host.sh("nft delete rule inet mine c handle $(nft -a list chain inet mine c | grep 'dport 80 ' | grep -o 'handle [0-9]*' | cut -d' ' -f2)").ok();
    host.docker("rm -f web").ok();
    host.linkspan("down").ok();
    assert_eq!(seen(), before);
}
