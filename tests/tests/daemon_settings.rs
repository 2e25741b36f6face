//! What the daemon is told when it starts, with Docker's names for it: each setting, seen by packets or in a container.

use conformance::{
    From,
    From::{Container, Outside},
    Host, eventually,
};

/// A host whose daemon was told so, with the image.
fn told(arguments: &[&str]) -> Option<Host> {
    let host = Host::start_with(arguments)?;
    host.load_image();
    Some(host)
}

#[test]
fn addresses_of_the_default_network() {
    let arguments =
        ["--bridge", "lsbr0", "--bip", "10.9.0.1/16", "--fixed-cidr", "10.9.4.0/24", "--default-gateway", "10.9.0.9"];
    let Some(host) = told(&arguments) else { return };
    assert!(host.sh("ip -o addr show lsbr0").ok().contains("10.9.0.1/16"));
    let said = host.docker("run --rm busybox sh -c 'hostname -i; ip route show default'").ok();
    assert!(said.starts_with("10.9.4.") && said.contains("via 10.9.0.9"), "{said}");
    let config = host.docker("network inspect -f '{{json (index .IPAM.Config 0)}}' bridge").ok();
    for part in [r#""IPRange":"10.9.4.0/24""#, r#""Gateway":"10.9.0.1""#, r#""DefaultGatewayIPv4":"10.9.0.9""#] {
        assert!(config.contains(part), "{part} in {config}");
    }
    host.docker("network create --subnet 10.8.0.0/24 --aux-address DefaultGatewayIPv4=10.8.0.77 mine").ok();
    let mine = host.docker("run --rm --network mine busybox ip route show default").ok();
    assert!(mine.contains("via 10.8.0.77"), "{mine}");
    host.docker("run --rm --network mine --ip 10.8.0.77 busybox true").fails_with("the default gateway");
}

#[test]
fn ipv6_of_the_default_network() {
    let Some(host) = told(&["--ipv6"]) else { return };
    let addresses = host.docker("run --rm busybox ip -6 addr show eth0 scope global").ok();
    assert!(addresses.contains("inet6 fd"), "{addresses}");
    let subnet =
        host.docker("network inspect -f '{{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{end}}' bridge").ok();
    host.kill_daemon();
    host.start_daemon();
    let again =
        host.docker("network inspect -f '{{.EnableIPv6}} {{range .IPAM.Config}}{{.Subnet}} {{end}}' bridge").ok();
    assert_eq!(subnet, again, "what came from the pools stays");
}

#[test]
fn who_may_talk_to_whom() {
    let Some(host) = told(&["--icc=false", "--ip-masq=false", "--allow-direct-routing", "--ip", "192.0.2.1"]) else {
        return;
    };
    host.serve("web", "-p 8080:80");
    host.idle("other", "");
    let web = host.ipv4("web", "bridge");
    host.reaches(Outside, "192.0.2.1:8080");
    assert_eq!(host.docker("port web").ok(), "80/tcp -> 192.0.2.1:8080");
    host.misses(Container("other"), &format!("{web}:80"));
    // The neighbour knows a way to the containers, and nobody hides them from it.
    host.outside("ip route add 172.17.0.0/16 via 192.0.2.1").ok();
    host.reaches(Outside, &format!("{web}:80"));
    host.outside("socat -T 5 TCP-LISTEN:9000,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &").ok();
    let seen = eventually("the neighbour is there", || host.tcp(Container("other"), "192.0.2.2:9000"));
    assert_eq!(seen, host.ipv4("other", "bridge"), "nobody masquerades");
    let settings = host.docker("network inspect -f '{{json .Options}}' bridge").ok();
    for part in [r#"enable_icc":"false""#, r#"enable_ip_masquerade":"false""#] {
        assert!(settings.contains(part), "{part} in {settings}");
    }
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn marked_packets_are_let_through() {
    let Some(host) = told(&["--bridge-accept-fwmark", "0x100/0xff00"]) else { return };
    host.serve("web", "-p 8080:80");
    let web = host.ipv4("web", "bridge");
    host.reaches(Outside, "192.0.2.1:8080");
    host.outside("ip route add 172.17.0.0/16 via 192.0.2.1").ok();
    host.misses(Outside, &format!("{web}:80"));
    host.sh("nft add table inet mine; nft add chain inet mine pre '{ type filter hook prerouting priority mangle; }'")
        .ok();
    host.sh(&format!("nft add rule inet mine pre ip daddr {web} tcp dport 80 meta mark set 0x0101")).ok();
    host.reaches(Outside, &format!("{web}:80"));
}

#[test]
fn no_listener_and_no_forwarding() {
    let Some(host) = told(&["--userland-proxy=false", "--ip-forward=false"]) else { return };
    host.sh("sysctl -w net.ipv4.ip_forward=0").ok();
    host.kill_daemon();
    host.start_daemon();
    host.serve("web", "-p 8080:80");
    host.reaches(From::Host, "192.0.2.1:8080");
    host.misses(From::Host, "[::1]:8080");
    host.misses(Outside, "192.0.2.1:8080");
    assert_eq!(host.sh("sysctl -n net.ipv4.ip_forward").ok(), "0");
    host.sh("sysctl -w net.ipv4.ip_forward=1").ok();
    host.reaches(Outside, "192.0.2.1:8080");
}

#[test]
fn names_for_all() {
    let arguments = [
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "example.org",
        "--dns-opt",
        "ndots:3",
        "--host-gateway-ip",
        "192.0.2.7",
    ];
    let Some(host) = told(&arguments) else { return };
    let conf = host.docker("run --rm busybox cat /etc/resolv.conf").ok();
    for line in ["nameserver 192.0.2.53", "search example.org", "options ndots:3"] {
        assert!(conf.contains(line), "{line} in {conf}");
    }
    let own = host
        .docker("run --rm --dns-search mine.test --add-host gw:host-gateway busybox cat /etc/resolv.conf /etc/hosts")
        .ok();
    assert!(own.contains("search mine.test") && own.contains("192.0.2.7\tgw"), "{own}");
}

#[test]
fn options_of_all_new_networks() {
    let arguments = [
        "--default-network-opt",
        "bridge=com.docker.network.driver.mtu=1400",
        "--default-network-opt",
        "bridge=com.docker.network.bridge.enable_icc=false",
    ];
    let Some(host) = told(&arguments) else { return };
    host.docker("network create --opt com.docker.network.bridge.enable_icc=true mine").ok();
    let options = host.docker("network inspect -f '{{json .Options}}' mine").ok();
    assert!(options.contains(r#"driver.mtu":"1400""#) && options.contains(r#"enable_icc":"true""#), "{options}");
    assert_eq!(host.docker("run --rm --network mine busybox cat /sys/class/net/eth0/mtu").ok(), "1400");
}
