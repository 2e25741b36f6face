//! The forms in which ports are published, and which host ports they get.

use conformance::Host;

#[test]
fn random_ports_and_all_exposed_ones() {
    let Some(host) = Host::empty() else { return };
    host.sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40099'").ok();
    host.start_daemon();
    host.load_image();
    let port_of = |name: &str, inside: &str| -> u16 {
        let said = host.docker(&format!("port {name} {inside}")).ok();
        said.lines().next().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    };
    host.idle("early", "-p 80");
    // It counts when a port is chosen, not when the daemon started.
    host.sh("sysctl -qw net.ipv4.ip_local_port_range='50000 50009'").ok();
    host.idle("zero", "-p 80");
    assert!((50000..50010).contains(&port_of("zero", "80/tcp")));
    host.sh("sysctl -qw net.ipv4.ip_local_port_range='40000 40099'").ok();
    host.docker("rm -f early zero").ok();
    host.idle("one", "-p 80 -p 53/udp");
    for inside in ["80/tcp", "53/udp"] {
        assert!((40000..40100).contains(&port_of("one", inside)), "{inside}");
    }
    assert_eq!(host.docker("port one 80/tcp").ok().lines().count(), 2, "both families have the same port");
    host.idle("two", "-P --expose 80 --expose 90-91/udp");
    for inside in ["80/tcp", "90/udp", "91/udp"] {
        assert!((40000..40100).contains(&port_of("two", inside)), "{inside}");
    }
    host.idle("three", "-p 127.0.0.1::80");
    assert!(host.docker("port three").ok().starts_with("80/tcp -> 127.0.0.1:40"));
    host.idle("four", "-p 40000-40098:81");
    host.docker("run -d --name five -p 200:80 -p 200:81 busybox true").fails_with("already allocated");
    host.docker("run --rm -p 100-102:80-81 busybox true")
        .fails_with("invalid ranges specified for container and host Ports");
    host.docker("run --rm -p 99999:80 busybox true").fails();
    host.docker("run --rm -p 192.0.2.77777:80:80 busybox true").fails();
    host.docker("rm -f one two three four").ok();
    // The first free one of a range.
    host.idle("r1", "-p 9000-9002:80");
    host.idle("r2", "-p 9000-9002:80");
    host.idle("r3", "-p 9000-9002:80");
    assert_eq!([port_of("r1", "80/tcp"), port_of("r2", "80/tcp"), port_of("r3", "80/tcp")], [9000, 9001, 9002]);
    host.docker("run -d --name r4 -p 9000-9002:80 busybox true").fails_with("all ports are allocated");
    // A name whose start was refused is there, and starts once the port is free.
    host.docker("rm -f r2").ok();
    host.docker("start r4").ok();
    // The same port on other addresses, and by another protocol.
    host.idle("s1", "-p 127.0.0.1:7000:80 -p 127.0.0.1:7000:80/udp");
    host.idle("s2", "-p 192.0.2.1:7000:80 -p [2001:db8::1]:7000:80 -p [::1]:7000:80");
    host.docker("run -d --name s3 -p 7000:80 busybox true").fails_with("port is already allocated by container s");
    host.idle("s4", "-p 7000:80/sctp");
    assert_eq!(host.linkspan("diff").ok(), "The kernel is as it must be.");
}
