//! What is refused because somebody has it already names that somebody.

use conformance::{Host, eventually};

#[test]
fn every_holder_is_named() {
    let Some(host) = Host::start() else { return };
    let refused = |words: &str, holders: &[&str]| {
        let said = host.docker(words).fails();
        for holder in holders {
            assert!(said.contains(holder), "docker {words}\nexpected: {holder}\nsaid: {said}");
        }
    };
    host.docker("network create --subnet 10.1.0.0/24 --aux-address printer=10.1.0.9 here").ok();
    host.docker("network create --subnet 10.1.2.0/30 --gateway 10.1.2.1 small").ok();
    let id = host
        .docker("run -d --name holder --network here --ip 10.1.0.50 -p 8080:80 -v data:/data busybox sleep 1000")
        .ok();
    let id = &id[..12];
    host.docker("run -d --name only --network small busybox sleep 1000").ok();
    host.docker("volume create spare").ok();

    // Addresses.
    let at = |address: &str| format!("run --rm --network here --ip {address} busybox true");
    refused(&at("10.1.0.50"), &["Address already in use", "10.1.0.50", "container holder", id]);
    refused(&at("10.1.0.1"), &["Address already in use", "gateway"]);
    refused(&at("10.1.0.9"), &["Address already in use", "printer"]);
    refused("run --rm --network small busybox true", &["network small", "10.1.2.0/30"]);
    host.docker("run -d --name mac --network here --mac-address 02:00:00:00:00:01 busybox sleep 1000").ok();
    refused(
        "run --rm --network here --mac-address 02:00:00:00:00:01 busybox true",
        &["02:00:00:00:00:01", "container mac"],
    );

    // Ports, of containers and of the host's processes.
    let port = |spec: &str| format!("run --rm -p {spec} busybox true");
    refused(&port("8080:80"), &["8080", "port is already allocated", "container holder", id]);
    refused(&port("127.0.0.1:8080:80"), &["8080", "container holder"]);
    refused(&port("8000-8100:8000-8100"), &["8080", "container holder"]);
    host.sh("socat TCP-LISTEN:9090,bind=127.0.0.1,fork PIPE >/dev/null 2>&1 & socat UDP-LISTEN:9091,fork PIPE >/dev/null 2>&1 &").ok();
    eventually("the host's own servers", || {
        (host.sh("ss -Hlnut '( sport = 9090 or sport = 9091 )' | wc -l").ok() == "2").then_some(())
    });
    refused(&port("9090:80"), &["9090", "port is already allocated", "socat (pid", "on this host"]);
    refused(&port("9091:80/udp"), &["9091", "port is already allocated", "socat (pid", "on this host"]);
    host.docker(&port("9091:80/tcp")).ok();

    // Subnets of networks and of the host's routes.
    let subnet = |net: &str| format!("network create --subnet {net} refused");
    refused(&subnet("10.1.0.128/25"), &["overlaps", "10.1.0.0/24", "network here"]);
    refused(&subnet("172.17.0.0/24"), &["overlaps", "172.17.0.0/16", "network bridge"]);
    host.sh("ip route add 10.77.5.0/24 via 192.0.2.2 && ip route add 2001:db8:77:1::/64 via 2001:db8::2").ok();
    refused(&subnet("10.77.0.0/16"), &["overlaps", "10.77.5.0/24", "the route of the host by uplink"]);
    refused(&subnet("192.0.2.0/24"), &["overlaps", "192.0.2.0/24", "the route of the host by uplink"]);
    refused(
        "network create --ipv6 --subnet 2001:db8:77::/48 refused",
        &["overlaps", "2001:db8:77:1::/64", "by uplink"],
    );

    // What is in use is not removed.
    refused("network rm here", &["has active endpoints", "holder", "mac"]);
    refused("network rm bridge", &["bridge is a pre-defined network"]);
    refused("volume rm data", &["volume is in use", id]);
    refused("rmi busybox", &["unable to", "container"]);
    refused("rm holder", &["container", "running"]);
    refused("rename only holder", &["/holder", "already in use by container", id]);
    refused("network create here", &["network with name here already exists"]);
    refused("network connect here holder", &["holder", "already exists in network here"]);
}
