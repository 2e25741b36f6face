//! `--network host`, `none` and `container:X`, and what may not be combined with them.

use conformance::{From::*, Host};

#[test]
fn the_hosts_namespace() {
    let Some(host) = Host::start() else { return };
    host.idle("hh", "--network host");
    assert_eq!(host.exec("hh", "readlink /proc/self/ns/net").ok(), host.sh("readlink /proc/self/ns/net").ok());
    assert_eq!(host.exec("hh", "hostname").ok(), host.sh("hostname").ok());
    host.docker("network connect bridge hh").fails_with("host");
    host.docker("network connect host hh").fails();
    let said = host.docker("run --rm -p 80:80 --network host busybox true");
    assert!(said.err.contains("discarded when using host network mode"), "{}", said.err);
    said.ok();
    host.docker("run --rm --network host --sysctl net.ipv4.ip_forward=1 busybox true")
        .fails_with("not allowed in host network namespace");
    host.docker("run --rm --network host --network bridge busybox true").fails();
}

#[test]
fn no_network() {
    let Some(host) = Host::start() else { return };
    host.idle("nn", "--network none");
    assert_eq!(host.exec("nn", "ls /sys/class/net").ok(), "lo");
    host.exec("nn", "ping -c 1 -W 1 127.0.0.1").ok();
    host.exec("nn", "ping -c 1 -W 1 192.0.2.1").fails();
    host.docker("network connect bridge nn").fails_with("private (none) mode");
    host.docker("run --rm --network none --network bridge busybox true").fails();
}

#[test]
fn the_namespace_of_another_container() {
    let Some(host) = Host::start() else { return };
    host.docker("network create net").ok();
    host.serve("owner", "--network net -h box -p 8080:80");
    host.idle("guest", "--network container:owner");
    let both = |script: &str| (host.exec("owner", script).ok(), host.exec("guest", script).ok());
    for script in ["readlink /proc/self/ns/net", "hostname", "cat /etc/hosts", "cat /etc/resolv.conf", "ip -o addr"] {
        let (owner, guest) = both(script);
        assert_eq!(owner, guest, "{script}");
    }
    host.reaches(Container("guest"), "127.0.0.1:80");
    host.exec("guest", "ping -c 1 -W 10 owner").ok();
    // What is connected live is there for both.
    host.docker("network create more").ok();
    host.docker("network connect more owner").ok();
    let (owner, guest) = both("ip -o addr; cat /etc/hosts");
    assert_eq!(owner, guest);
    host.docker("network connect more guest").fails_with("container sharing network namespace");
    let refused = |words: &str, why: &str| {
        host.docker(&format!("run --rm --network container:owner {words} busybox true")).fails_with(why);
    };
    refused("-p 80:80", "conflicting options: port publishing and the container type network mode");
    refused("-P", "conflicting options: port publishing and the container type network mode");
    refused("--expose 80", "conflicting options: port exposing and the container type network mode");
    refused("--hostname x", "conflicting options: hostname and the network mode");
    refused("--dns 1.1.1.1", "conflicting options: dns and the network mode");
    refused("--add-host a:1.1.1.1", "conflicting options: custom host-to-IP mapping and the network mode");
    refused("--mac-address 02:00:00:00:00:01", "container sharing network namespace");
    refused("--link owner:x", "conflicting options");
    host.docker("run --rm --network container:nobody busybox true").fails_with("No such container: nobody");
    host.docker("create --name c1 --network container:owner busybox true").ok();
    host.docker("rm -f owner").ok();
    host.docker("start c1").fails();
}
