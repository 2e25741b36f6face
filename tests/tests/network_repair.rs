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
    let seen = host.path().join("events").display().to_string();
    host.sh(&format!(
        ": > {seen}; docker events --since 1 --filter type=daemon --format '{{{{.Action}}}} {{{{json .Actor.Attributes}}}}' >> {seen} 2>&1 &"
    ))
    .ok();
    let bridge = host.sh("ip -o -4 addr | grep 10.1.0.1/24 | awk '{print $2}'").ok();
    let veth = host.sh(&format!("ip -o link show master {bridge} | head -n 1 | cut -d' ' -f2 | cut -d@ -f1")).ok();
    let events = || host.sh(&format!("grep -c repair {seen}; true")).ok().parse::<u32>().unwrap();
    for harm in [
        "nft flush ruleset".to_owned(),
        "nft delete table inet linkspan".to_owned(),
        "nft flush chain inet linkspan forward".to_owned(),
        "nft flush map inet linkspan publish4_to".to_owned(),
        format!("ip link del {bridge}"),
        format!("ip link set {bridge} down"),
        format!("ip addr del 10.1.0.1/24 dev {bridge}"),
        format!("ip link set {veth} nomaster"),
        format!("ip link set {veth} down"),
        format!("ip link del {veth}"),
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
        format!("sysctl -qw net.ipv4.conf.{bridge}.route_localnet=0"),
        format!("sysctl -qw net.ipv6.conf.{bridge}.disable_ipv6=0"),
    ] {
        let before = events();
        host.sh(&harm).ok();
        eventually(&format!("an event after {harm}"), || (events() > before).then_some(()));
        eventually(&format!("right after {harm}"), || {
            (host.linkspan("diff").out.trim() == "The kernel is as it must be.").then_some(())
        });
        host.reaches(Outside, "192.0.2.1:8080");
        host.reaches(Container("other"), "web:80");
    }
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
