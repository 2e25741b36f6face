//! From where a published port is reached, by TCP and UDP, and whose address the container sees.

use std::net::IpAddr;

use conformance::{From::*, Host, eventually};

#[test]
fn from_everywhere() {
    let Some(host) = Host::start() else { return };
    host.docker("network create other").ok();
    host.serve("web", "-p 8080:80 -p 80:80");
    host.serve_udp("echo", 7, "-p 7007:7/udp -p 7:7/udp");
    host.idle("near", "");
    host.idle("far", "--network other");
    for from in [Host, Outside, Container("near"), Container("far"), Container("web"), Container("echo")] {
        for target in ["192.0.2.1", "172.17.0.1"] {
            if (from, target) == (Outside, "172.17.0.1") {
                continue;
            }
            host.reaches(from, &format!("{target}:8080"));
            host.reaches(from, &format!("{target}:80"));
            host.reaches_udp(from, &format!("{target}:7007"));
            host.reaches_udp(from, &format!("{target}:7"));
        }
    }
    // The containers have IPv4 alone: the userspace listener serves these.
    for target in ["[2001:db8::1]", "[::1]", "127.0.0.1"] {
        host.reaches(Host, &format!("{target}:8080"));
        host.reaches_udp(Host, &format!("{target}:7007"));
    }
    host.reaches(Outside, "[2001:db8::1]:8080");
    host.reaches_udp(Outside, "[2001:db8::1]:7007");
}

#[test]
fn the_container_sees_who_asks() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --ipv6 both").ok();
    host.serve_peer("peer", "--network both -p 8080:80");
    host.serve_peer("peer4", "-p 8084:80");
    host.idle("near", "--network both");
    host.idle("far", "");
    let seen = |from, target: &str| {
        let said = eventually(&format!("{from:?} is answered by {target}"), || host.tcp(from, target));
        said.trim_matches(['[', ']']).parse::<IpAddr>().unwrap().to_canonical().to_string()
    };
    let gateway = |network: &str, n: u8| {
        host.docker(&format!("network inspect -f '{{{{(index .IPAM.Config {n}).Gateway}}}}' {network}")).ok()
    };
    assert_eq!(seen(Outside, "192.0.2.1:8080"), "192.0.2.2");
    assert_eq!(seen(Outside, "[2001:db8::1]:8080"), "2001:db8::2");
    assert_eq!(seen(Host, "192.0.2.1:8080"), "192.0.2.1");
    assert_eq!(seen(Host, "127.0.0.1:8080"), gateway("both", 0), "127.0.0.1 is nobody's address in a container");
    assert_eq!(seen(Container("far"), "192.0.2.1:8080"), host.ipv4("far", "bridge"));
    assert_eq!(seen(Container("near"), "192.0.2.1:8080"), gateway("both", 0), "hairpin");
    assert_eq!(seen(Outside, "[2001:db8::1]:8084"), "172.17.0.1", "another family: from the listener");
}

#[test]
fn a_loopback_publish_is_private() {
    let Some(host) = Host::start() else { return };
    host.serve("web", "-p 127.0.0.1:8080:80 -p 192.0.2.1:8081:80");
    host.reaches(Host, "127.0.0.1:8080");
    host.reaches(Outside, "192.0.2.1:8081");
    host.misses(Host, "127.0.0.1:8081");
    host.misses(Outside, "192.0.2.1:8080");
    host.outside("ip route add 127.0.0.0/8 via 192.0.2.1 table 9; ip rule add to 127.0.0.1/32 dport 8080 table 9 pref 0; ip rule del pref 0 table local; ip rule add pref 1 table local; sysctl -qw net.ipv4.conf.all.route_localnet=1").ok();
    host.misses(Outside, "127.0.0.1:8080");
    // Not even where the bridge lets loopback addresses in.
    host.idle("near", "");
    let said = host.docker("run --rm --privileged busybox sh -c 'sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.eth0.route_localnet=1; ip rule del pref 0; ip rule add pref 9 table local; ip route add 127.0.0.1/32 via 172.17.0.1 table 8; ip rule add to 127.0.0.1 dport 8080 table 8 pref 1; timeout 2 get 127.0.0.1:8080'");
    assert_eq!(said.out, "");
}

#[test]
fn direct_routing_and_gateway_modes() {
    let Some(host) = Host::start() else { return };
    host.outside("ip route add 10.0.0.0/8 via 192.0.2.1; ip -6 route add fd00::/8 via 2001:db8::1").ok();
    let network = |name: &str, n: u8, options: &str| {
        let subnets = format!("--subnet 10.{n}.0.0/24 --ipv6 --subnet fd00:{n}::/64");
        let options: String =
            options.split_whitespace().map(|o| format!(" -o com.docker.network.bridge.{o}")).collect();
        host.docker(&format!("network create {subnets}{options} {name}")).ok();
        // Two ports: 80 is published at 80n0, 81 is not.
        let serve = "sh -c 'httpd -p 81 -h /var/www; httpd -p [::]:80 -h /var/www; exec sleep 100000'";
        host.docker(&format!("run -d --name w-{name} --network {name} -p 80{n}0:80 busybox {serve}")).ok();
    };
    network("nat", 1, "");
    network("open", 2, "gateway_mode_ipv4=nat-unprotected gateway_mode_ipv6=nat-unprotected");
    network("routed", 3, "gateway_mode_ipv4=routed gateway_mode_ipv6=routed");
    network("trust", 4, "trusted_host_interfaces=uplink:other0");
    let to = |name: &str, port: u16| {
        [
            format!("{}:{port}", host.ipv4(&format!("w-{name}"), name)),
            format!("[{}]:{port}", host.ipv6(&format!("w-{name}"), name)),
        ]
    };
    for target in ["nat", "open", "routed", "trust"].iter().flat_map(|name| [to(name, 80), to(name, 81)]).flatten() {
        host.reaches(Host, &target);
    }
    for target in
        ["open", "trust"].iter().flat_map(|name| [to(name, 80), to(name, 81)]).flatten().chain(to("routed", 80))
    {
        host.reaches(Outside, &target);
    }
    for target in to("nat", 80).into_iter().chain(to("nat", 81)).chain(to("routed", 81)) {
        host.misses(Outside, &target);
    }
    for (port, published) in [(8010, true), (8020, true), (8030, false), (8040, true)] {
        for target in [format!("192.0.2.1:{port}"), format!("[2001:db8::1]:{port}")] {
            if published { host.reaches(Outside, &target) } else { host.misses(Outside, &target) }
        }
    }
    let routed = host.ipv4("w-routed", "routed");
    host.outside(&format!("ping -c 1 -W 10 {routed}")).ok();
    host.outside(&format!("ping -c 1 -W 1 {}", host.ipv4("w-nat", "nat"))).fails();
    // Between networks: routed ones are reached at published ports, others are not.
    host.reaches(Container("w-nat"), &to("routed", 80)[0]);
    host.misses(Container("w-nat"), &to("routed", 81)[0]);
    host.misses(Container("w-routed"), &to("nat", 80)[0]);
    // A routed network's packets keep their source.
    host.outside("socat TCP-LISTEN:9000,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &").ok();
    assert_eq!(eventually("the outside answers", || host.tcp(Container("w-routed"), "192.0.2.2:9000")), routed);
    assert_eq!(eventually("the outside answers", || host.tcp(Container("w-open"), "192.0.2.2:9000")), "192.0.2.1");
}

#[test]
fn internal_isolated_and_without_icc() {
    let Some(host) = Host::start() else { return };
    host.serve("public", "-p 8080:80");
    host.docker("network create --internal --subnet 10.1.0.0/24 inner").ok();
    host.serve("in1", "--network inner -p 8081:80");
    host.idle("in2", "--network inner");
    host.reaches(Container("in2"), "in1:80");
    host.reaches(Host, "10.1.0.2:80");
    assert_eq!(host.exec("in2", "ip route | grep default; true").ok(), "");
    host.exec("in2", "ping -c 1 -W 1 192.0.2.2").fails();
    host.misses(Host, "127.0.0.1:8081");
    host.misses(Outside, "192.0.2.1:8081");
    host.docker("run --rm --privileged --network inner busybox sh -c 'ip route add default via 10.1.0.1; ping -c 1 -W 1 192.0.2.2'").fails();
    host.outside("ip route add 10.1.0.0/24 via 192.0.2.1").ok();
    host.misses(Outside, "10.1.0.2:80");
    host.docker(
        "network create --internal --subnet 10.2.0.0/24 -o com.docker.network.bridge.gateway_mode_ipv4=isolated alone",
    )
    .ok();
    assert!(!host.sh("ip -4 -o addr").ok().contains("10.2.0."));
    host.serve("al1", "--network alone");
    host.idle("al2", "--network alone");
    host.reaches(Container("al2"), "al1:80");
    host.docker("network create -o com.docker.network.bridge.gateway_mode_ipv4=isolated bad").fails_with("internal");
    host.docker("network create -o com.docker.network.bridge.enable_icc=false --subnet 10.3.0.0/24 quiet").ok();
    host.serve("q1", "--network quiet -p 8082:80");
    host.idle("q2", "--network quiet");
    host.idle("q3", "--network quiet --link q1:friend");
    host.reaches(Outside, "192.0.2.1:8082");
    host.reaches(Container("q3"), "friend:80");
    host.misses(Container("q2"), "10.3.0.2:80");
    host.exec("q2", "ping -c 1 -W 1 10.3.0.2").fails();
    // What it publishes all may ask for, also where netfilter sees frames between ports (on a host without br_netfilter there is no such setting).
    for shown in ["1", "0"] {
        host.sh(&format!("cd /proc/sys/net/bridge && echo {shown} > bridge-nf-call-iptables; true")).ok();
        host.reaches(Container("q2"), "192.0.2.1:8082");
        host.reaches(Container("q1"), "10.3.0.1:8082");
        host.misses(Container("q2"), "10.3.0.2:80");
    }
    host.exec("q2", "ping -c 1 -W 10 192.0.2.2").ok();
    host.docker("rm -f q3").ok();
    host.misses(Container("q2"), "10.3.0.2:80");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn udp_flows_follow_their_port() {
    let Some(host) = Host::start() else { return };
    // A client that has one flow and never stops: always the same source port.
    let ask = "printf hi | timeout 1 socat -t 0.3 - UDP:192.0.2.1:5000,sourceport=6000,reuseaddr";
    let told = |name: &str| {
        eventually(&format!("{name} answers the old flow"), || (host.outside(ask).out.trim() == name).then_some(()));
    };
    let serve = |name: &str| {
        host.docker(&format!(
            "run -d --name {name} -p 5000:7/udp busybox socat -T 5 UDP-LISTEN:7,fork,reuseaddr SYSTEM:'echo {name}'"
        ))
        .ok();
    };
    assert_eq!(host.outside(ask).out, "");
    serve("first");
    told("first");
    host.docker("rm -f first").ok();
    host.idle("taker", "");
    serve("second");
    told("second");
    host.docker("rm -f second").ok();
    assert_eq!(host.sh("grep -c 'dport=5000' /proc/net/nf_conntrack; true").ok(), "0");
}

#[test]
fn forwarding_is_for_containers() {
    let beyond = "ip netns add beyond; ip link add to-beyond type veth peer name eth0 netns beyond; ip addr add 198.51.100.1/24 dev to-beyond; ip link set to-beyond up; ip -n beyond addr add 198.51.100.2/24 dev eth0; ip -n beyond link set eth0 up; ip -n beyond route add default via 198.51.100.1";
    let Some(host) = Host::empty() else { return };
    host.sh(beyond).ok();
    host.outside("ip route add 198.51.100.0/24 via 192.0.2.1").ok();
    let passes = || host.outside("ping -c 1 -W 1 198.51.100.2").code == 0;
    assert!(!passes(), "the host forwarded before");
    host.start_daemon();
    host.load_image();
    host.serve("web", "-p 8080:80");
    host.reaches(Outside, "192.0.2.1:8080");
    assert!(!passes(), "linkspan opened a way between links that are not its own");
    host.kill_daemon();
    host.start_daemon();
    assert!(!passes(), "nor after a restart");
    let doctor = host.linkspan("doctor");
    assert!(doctor.out.contains("`linkspan up --ip-forward-no-drop` lets them pass"), "{}", doctor.out);
    drop(host);
    // Unless it is told to.
    let Some(host) = Host::empty() else { return };
    host.sh(beyond).ok();
    host.outside("ip route add 198.51.100.0/24 via 192.0.2.1").ok();
    host.start_daemon();
    host.outside("ping -c 1 -W 1 198.51.100.2").fails();
    host.kill_daemon();
    let host = host.with_arguments(&["--ip-forward-no-drop"]);
    host.start_daemon();
    host.outside("ping -c 1 -W 10 198.51.100.2").ok();
    drop(host);
    // A host that forwarded goes on.
    let Some(host) = Host::empty() else { return };
    host.sh("sysctl -qw net.ipv4.ip_forward=1").ok();
    host.sh(beyond).ok();
    host.outside("ip route add 198.51.100.0/24 via 192.0.2.1").ok();
    host.outside("ping -c 1 -W 10 198.51.100.2").ok();
    host.start_daemon();
    host.outside("ping -c 1 -W 10 198.51.100.2").ok();
    host.linkspan("down").ok();
    host.outside("ping -c 1 -W 10 198.51.100.2").ok();
}
