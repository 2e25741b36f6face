//! Bridge networks of one's own: live connect, gateways, addresses, families, and options.

use conformance::{From::*, Host, eventually};

/// `network create` with these words says yes, and gives the one value that an inspect template asks for.
fn inspected(host: &Host, words: &str, template: &str) -> String {
    host.docker(&format!("network create {words} probe")).ok();
    let value = host.docker(&format!("network inspect -f '{template}' probe")).ok();
    host.docker("network rm probe").ok();
    value
}

#[test]
fn what_is_taken_away_is_free_at_once() {
    let Some(host) = Host::start() else { return };
    host.idle("cx", "");
    let create = "docker network create --subnet 10.1.0.0/24 -o com.docker.network.bridge.name=mybr0 net";
    for _ in 0..10 {
        host.sh(create).ok();
        host.docker("network connect --driver-opt com.docker.network.endpoint.ifname=lan0 net cx").ok();
        assert!(host.exec("cx", "ls /sys/class/net").ok().contains("lan0"));
        host.docker("network disconnect net cx").ok();
        assert!(!host.exec("cx", "ls /sys/class/net").ok().contains("lan0"));
        host.docker("network rm net").ok();
        assert!(!host.sh("ip -o link; ip route").ok().contains("mybr0"));
    }
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
    host.sh(create).ok();
    host.docker("network connect net cx").ok();
    host.linkspan("down").ok();
    let left = host.sh("ip -o link; nft list ruleset; ls /run/linkspan/netns; true").ok();
    assert!(["mybr0", "veth", "linkspan"].iter().all(|word| !left.contains(word)), "{left}");
}

#[test]
fn several_networks_and_who_has_the_default_route() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 aa").ok();
    host.docker("network create --subnet 10.2.0.0/24 bb").ok();
    host.docker("network create --subnet 10.3.0.0/24 cc").ok();
    let default = |name: &str| host.exec(name, "ip route show default").ok();
    host.idle("cx", "--network bb");
    assert!(default("cx").contains("via 10.2.0.1"));
    host.docker("network connect aa cx").ok();
    assert!(default("cx").contains("via 10.1.0.1"), "the name decides between equals: {}", default("cx"));
    host.docker("network connect --gw-priority 5 cc cx").ok();
    assert!(default("cx").contains("via 10.3.0.1"), "{}", default("cx"));
    host.exec("cx", "ping -c 1 -W 10 192.0.2.2 && ping -c 1 -W 10 10.1.0.1").ok();
    host.docker("network disconnect cc cx").ok();
    assert!(default("cx").contains("via 10.1.0.1"), "{}", default("cx"));
    host.exec("cx", "ping -c 1 -W 10 192.0.2.2").ok();
    host.idle(
        "dx",
        "--network name=aa,alias=x,ip=10.1.0.77,mac-address=02:00:00:00:00:77 --network name=bb,gw-priority=1",
    );
    assert!(default("dx").contains("via 10.2.0.1"), "{}", default("dx"));
    let inside = host.exec("dx", "ip -o addr; ip link").ok();
    assert!(inside.contains("10.1.0.77/24") && inside.contains("02:00:00:00:00:77"), "{inside}");
    host.exec("cx", "ping -c 1 -W 10 x").ok();
    // The endpoint with the default route goes; a container whose published ports are there moves them along.
    host.serve("web", "--network aa -p 8080:80");
    host.reaches(Outside, "192.0.2.1:8080");
    host.docker("network connect --gw-priority 9 bb web").ok();
    host.reaches(Outside, "192.0.2.1:8080");
    host.docker("network disconnect bb web").ok();
    host.reaches(Outside, "192.0.2.1:8080");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn addresses_that_are_asked_for() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 --ipv6 --subnet fd00:1::/64 net").ok();
    host.docker("network create plain").ok();
    host.idle("one", "--network net --ip 10.1.0.50 --ip6 fd00:1::50");
    assert_eq!(host.ipv4("one", "net"), "10.1.0.50");
    assert_eq!(host.ipv6("one", "net"), "fd00:1::50");
    let mac = || host.docker("inspect -f '{{.NetworkSettings.Networks.net.MacAddress}}' one").ok();
    let before = mac();
    host.docker("restart -t 0 one").ok();
    assert_eq!((host.ipv4("one", "net").as_str(), mac()), ("10.1.0.50", before));
    let refused = |words: &str, why: &str| host.docker(&format!("run --rm {words} busybox true")).fails_with(why);
    refused(
        "--network net --ip 10.1.0.50",
        "Address already in use: 10.1.0.50 on network net is used by container one",
    );
    refused("--network net --ip6 fd00:1::50", "used by container one");
    refused("--network net --ip 10.1.0.1", "used by the gateway");
    refused("--network net --ip 10.9.0.1", "does not belong to any of this network's subnets");
    refused("--network plain --ip 172.18.0.9", "user configured subnets");
    host.docker("network connect --ip 10.1.0.50 net one").fails_with("already");
    host.idle("two", "--network plain");
    host.docker("network connect --ip 10.1.0.51 --ip6 fd00:1::51 --link-local-ip 169.254.7.7 net two").ok();
    host.exec("one", "ping -c 1 -W 10 10.1.0.51").ok();
    assert!(host.exec("two", "ip -o addr").ok().contains("169.254.7.7/16"));
}

#[test]
fn ranges_gateways_and_held_addresses() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --subnet 10.1.0.0/24 --ip-range 10.1.0.128/30 --gateway 10.1.0.254 --aux-address router=10.1.0.129 net").ok();
    assert!(host.sh("ip -4 -o addr").ok().contains("10.1.0.254/24"));
    host.idle("one", "--network net");
    host.idle("two", "--network net");
    host.idle("three", "--network net");
    let mut given = [host.ipv4("one", "net"), host.ipv4("two", "net"), host.ipv4("three", "net")];
    given.sort();
    assert_eq!(given, ["10.1.0.128", "10.1.0.130", "10.1.0.131"]);
    host.docker("run --rm --network net busybox true").fails_with("no available IPv4 addresses");
    host.docker("run --rm --network net --ip 10.1.0.129 busybox true").fails_with("router");
    host.docker("run --rm --network net --ip 10.1.0.9 busybox true").ok();
    host.docker("rm -f two").ok();
    host.idle("four", "--network net");
    let refused = |words: &str, why: &str| host.docker(&format!("network create {words} bad")).fails_with(why);
    refused("--subnet 10.1.0.0/25", "10.1.0.0/24 of network net");
    refused("--subnet 172.17.5.0/24", "of network bridge");
    refused("--subnet 192.0.2.0/24", "the route of the host by uplink");
    refused("--subnet 10.2.0.0/32", "No available addresses on this pool");
    refused("--subnet 10.2.0.1/24", "it should be 10.2.0.0/24");
    refused("--subnet 10.2.0.0/24 --gateway 10.3.0.1", "no matching subnet");
    refused("--subnet 10.2.0.0/24 --ip-range 10.3.0.0/28", "no matching subnet");
    refused("--subnet 10.2.0.0/24 --aux-address a=10.3.0.1", "no matching subnet");
    refused("--subnet 10.2.0.0/24 --subnet 10.3.0.0/24", "multiple subnets");
}

#[test]
fn pools_keep_clear_of_the_hosts_routes() {
    let Some(host) = Host::start() else { return };
    host.sh("ip route add 172.18.0.0/16 via 192.0.2.2; ip route add 172.19.5.0/24 via 192.0.2.2").ok();
    let subnet = inspected(&host, "", "{{(index .IPAM.Config 0).Subnet}}");
    assert_eq!(subnet, "172.20.0.0/16");
}

#[test]
fn many_networks_and_the_end_of_a_pool() {
    let Some(host) =
        Host::start_with_config("[network]\ndefault-address-pools = [{ base = '10.0.0.0/15', size = 24 }]")
    else {
        return;
    };
    host.sh("seq 60 | sed 's/.*/{\"Name\":\"n&\"}/' | while read body; do curl -s -f -o /dev/null --unix-socket /run/docker.sock -d \"$body\" -H 'Content-Type: application/json' http://d/networks/create || exit 1; done").ok();
    assert_eq!(host.sh("docker network ls -q | wc -l").ok(), "63");
    host.serve("web", "--network n60 -p 8080:80");
    host.reaches(Outside, "192.0.2.1:8080");
    host.sh("docker network rm $(seq -f n%g 59) >/dev/null").ok();
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn both_families_and_one_alone() {
    let Some(host) = Host::start() else { return };
    host.docker("network create --ipv6 both").ok();
    let subnet = host.docker("network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' both").ok();
    assert!(subnet.split(' ').any(|net| net.starts_with("fd") && net.ends_with("/64")), "{subnet}");
    host.serve("dual", "--network both -p 8080:80");
    host.idle("other", "--network both");
    let address = host.ipv6("dual", "both");
    host.reaches(Container("other"), &format!("[{address}]:80"));
    host.reaches(Container("other"), "dual:80");
    assert!(host.exec("other", "nslookup -type=aaaa dual 127.0.0.11").ok().contains(&address));
    assert!(host.exec("other", &format!("nslookup {address} 127.0.0.11")).ok().contains("dual"));
    assert!(host.exec("dual", "cat /etc/hosts").ok().contains(&address));
    host.exec("dual", "ping -c 1 -W 10 2001:db8::2").ok();
    for target in ["192.0.2.1:8080", "[2001:db8::1]:8080"] {
        host.reaches(Outside, target);
        host.reaches(Container("other"), target);
        host.reaches(Container("dual"), target);
    }
    for target in ["127.0.0.1:8080", "[::1]:8080", "[2001:db8::1]:8080"] {
        host.reaches(Host, target);
    }
    // IPv6 alone: IPv4 clients are served by the userspace listener.
    host.docker("network create --ipv4=false --ipv6 six").ok();
    host.serve("only6", "--network six -p 8081:80");
    assert!(!host.exec("only6", "ip -o -4 addr").ok().contains("eth0"));
    assert_eq!(host.exec("only6", "ip -4 route").ok(), "");
    host.exec("only6", "ping -c 1 -W 10 2001:db8::2").ok();
    for (from, target) in
        [(Outside, "[2001:db8::1]:8081"), (Outside, "192.0.2.1:8081"), (Host, "127.0.0.1:8081"), (Host, "[::1]:8081")]
    {
        host.reaches(from, target);
    }
    // A container may go without.
    host.idle("off", "--network both --sysctl net.ipv6.conf.all.disable_ipv6=1");
    assert_eq!(host.exec("off", "ip -6 -o addr").ok(), "");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}

#[test]
fn options_of_a_bridge() {
    let Some(host) = Host::start() else { return };
    let create = |words: &str| host.docker(&format!("network create {words}")).ok();
    create(
        "-o com.docker.network.bridge.name=mybr0 -o com.docker.network.driver.mtu=1234 -o com.docker.network.container_iface_prefix=lan named",
    );
    host.idle("named", "--network named");
    assert!(host.sh("ip -o link show mybr0").ok().contains("mtu 1234"));
    assert!(host.exec("named", "ip -o link show lan0").ok().contains("mtu 1234"));
    host.docker("network create -o com.docker.network.bridge.name=mybr0 again").fails_with("mybr0");
    host.docker("network create -o com.docker.network.driver.mtu=x bad").fails_with("invalid MTU");
    create("--subnet 10.5.0.0/24 -o com.docker.network.bridge.inhibit_ipv4=true bare");
    assert!(!host.sh("ip -o -4 addr").ok().contains("10.5.0."));
    host.idle("bare1", "--network bare");
    host.serve("bare2", "--network bare");
    host.reaches(Container("bare1"), "bare2:80");
    // What the outside sees.
    host.sh("ip addr add 192.0.2.9/24 dev uplink").ok();
    host.outside("socat TCP-LISTEN:9000,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &").ok();
    host.outside("ip route add 10.6.0.0/16 via 192.0.2.1").ok();
    create("--subnet 10.6.1.0/24 -o com.docker.network.host_ipv4=192.0.2.9 as");
    create("--subnet 10.6.2.0/24 -o com.docker.network.bridge.enable_ip_masquerade=false own");
    for (network, seen) in [("bridge", "192.0.2.1"), ("as", "192.0.2.9"), ("own", "10.6.2.2")] {
        host.idle("client", &format!("--network {network}"));
        let said = eventually("the outside answers", || host.tcp(Container("client"), "192.0.2.2:9000"));
        assert_eq!(said, seen, "{network}");
        host.docker("rm -f client").ok();
    }
    host.outside("socat TCP6-LISTEN:9006,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR' >/dev/null 2>&1 &").ok();
    host.sh("ip addr add 2001:db8:9::9/128 dev lo").ok();
    host.outside("ip route add 2001:db8:9::/64 via 2001:db8::1").ok();
    create("--ipv6 --subnet fd00:6::/64 -o com.docker.network.host_ipv6=2001:db8:9::9 as6");
    create("-o com.docker.network.enable_ipv6=true labelled");
    for (network, seen) in [
        ("as6", "[2001:0db8:0009:0000:0000:0000:0000:0009]"),
        ("labelled", "[2001:0db8:0000:0000:0000:0000:0000:0001]"),
    ] {
        host.idle("client", &format!("--network {network}"));
        let said = eventually("the outside answers", || host.tcp(Container("client"), "[2001:db8::2]:9006"));
        assert_eq!(said, seen, "{network}");
        host.docker("rm -f client").ok();
    }
    // Where ports are published unless said.
    create("-o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 private");
    host.serve("priv", "--network private -p 8090:80");
    assert_eq!(host.docker("port priv").ok(), "80/tcp -> 127.0.0.1:8090");
    host.reaches(Host, "127.0.0.1:8090");
    host.misses(Outside, "192.0.2.1:8090");
}

#[test]
fn neighbours_are_told_of_a_new_address() {
    let Some(host) = Host::start() else { return };
    let subnets = "--subnet 10.1.0.0/24 --ipv6 --subnet fd00:1::/64";
    host.docker(&format!("network create {subnets} net")).ok();
    host.docker(&format!(
        "network create {} -o com.docker.network.advertise_addr_nmsgs=0 silent",
        subnets.replace('1', "2")
    ))
    .ok();
    for (network, four, six, told) in
        [("net", "10.1.0.9", "fd00:1::9", true), ("silent", "20.2.0.9", "fd00:2::9", false)]
    {
        host.idle("near", &format!("--network {network}"));
        let served = |mac: &str| {
            host.idle("cx", &format!("--network {network} --ip {four} --ip6 {six} --mac-address {mac}"));
        };
        served("02:00:00:00:00:01");
        host.exec("near", &format!("ping -c 1 -W 10 {four} && ping -c 1 -W 10 {six}")).ok();
        host.docker("rm -f cx").ok();
        served("02:00:00:00:00:02");
        let knows = |address: &str, mac: &str| {
            let known = host.exec("near", "ip neigh").ok();
            let line = known.lines().find(|line| line.starts_with(address)).unwrap_or_default();
            line.contains(mac)
        };
        for address in [four, six] {
            if told {
                let what = format!("{network}: {address} is known anew");
                eventually(&what, || knows(address, "02:00:00:00:00:02").then_some(()));
            } else {
                assert!(knows(address, "02:00:00:00:00:01"), "{network}: {address} is not known as before");
            }
        }
        host.docker("rm -f cx near").ok();
    }
}

#[test]
fn options_of_an_endpoint() {
    let Some(host) = Host::start() else { return };
    host.docker("network create net").ok();
    host.idle("cx", "--network name=net,driver-opt=com.docker.network.endpoint.ifname=green0");
    // The command line's `--network` writes everything small, so settings go with a connect.
    host.docker("network disconnect net cx").ok();
    let settings = "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0";
    host.docker(&format!("network connect --driver-opt com.docker.network.endpoint.ifname=green0 --driver-opt com.docker.network.endpoint.sysctls={settings} net cx")).ok();
    assert_eq!(host.exec("cx", "ls /sys/class/net | grep green0; cat /proc/sys/net/ipv4/conf/green0/log_martians /proc/sys/net/ipv4/conf/green0/forwarding").ok(), "green0\n1\n0");
    host.docker("network connect --driver-opt com.docker.network.endpoint.ifname=blue0 bridge cx").ok();
    host.exec("cx", "ip link show blue0").ok();
    host.docker(
        "run --rm --network name=net,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=1 busybox true",
    )
    .fails_with("unrecognised network interface sysctl");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}
