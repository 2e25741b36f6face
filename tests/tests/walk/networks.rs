//! Step 5: the networks that are there, and their links.

use conformance::From::{Container, Host};

use crate::tour::Tour;

pub fn step(tour: &Tour) {
    tour.step("5. Networks, bridges and links");
    tour.docker("network ls");
    let names = tour.host.docker("network ls --format '{{.Name}} {{.Driver}}'").ok();
    assert_eq!(names, "bridge bridge\nhost host\nnone null");
    let bridge = tour.sees(Host, "ip -4 -o addr show docker0");
    let gateway = tour.docker("network inspect -f '{{(index .IPAM.Config 0).Gateway}}' bridge");
    assert!(bridge.contains(&format!(" {gateway}/16 ")) && gateway == "172.17.0.1", "{bridge}");
    for name in ["one", "two"] {
        tour.docker(&format!("run -d --name {name} busybox sleep 1000"));
    }

    tour.says("Each container has one end of a veth as its eth0; the other end is a port of the bridge.");
    let veths = tour.sees(Host, "ip -o link show type veth");
    let ports = tour.sees(Host, "bridge link");
    assert_eq!(veths.matches("master docker0").count(), 2, "{veths}");
    assert_eq!(ports.matches("master docker0").count(), 2, "{ports}");
    for (name, address) in [("one", "172.17.0.2/16"), ("two", "172.17.0.3/16")] {
        let inside = tour.sees(Container(name), "ip -4 -o addr show eth0");
        assert!(inside.contains(address), "{inside}");
        let peer = tour.sees(Container(name), "cat /sys/class/net/eth0/iflink");
        let index = |line: &str| line.split(':').next().map(ToOwned::to_owned);
        assert!(ports.lines().any(|port| index(port).as_deref() == Some(&peer)), "{name}: {peer}\n{ports}");
        let routes = tour.sees(Container(name), "ip route");
        assert!(routes.contains(&format!("default via {gateway} dev eth0")), "{routes}");
    }

    let members = "network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{println}}{{end}}' bridge";
    let members = tour.docker(members);
    let mut members: Vec<_> = members.lines().collect();
    members.sort_unstable();
    assert_eq!(members, ["one 172.17.0.2/16", "two 172.17.0.3/16"]);

    tour.says("host: the host's own links; none: only lo.");
    let hosts = "run --rm --network host busybox ls /sys/class/net";
    assert!(tour.docker(hosts).lines().any(|link| link == "docker0"));
    assert_eq!(tour.docker("run --rm --network none busybox ls /sys/class/net"), "lo");
    tour.removes("one two", "");
}
