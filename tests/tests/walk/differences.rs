//! What a network of one's own and the default one share, and the differences, one by one.

use conformance::From::{Container, Host};

use crate::tour::Tour;

pub fn show(tour: &Tour) {
    tour.says("A network of one's own and the default one, with two containers each.");
    tour.docker("network create mine");
    for name in ["d1", "d2"] {
        tour.docker(&format!("run -d --name {name} -e SECRET=1 busybox sleep 1000"));
    }
    tour.docker("run -d --name m1 --network mine -e SECRET=1 busybox sleep 1000");
    tour.docker("run -d --name m2 --network mine --network-alias second busybox sleep 1000");
    connections(tour);
    tour.says("What a network of one's own has and the default one has not:");
    resolution(tour);
    isolation(tour);
    addresses_and_aliases(tour);
    links(tour);
    settings(tour);
    removal(tour);
}

fn connections(tour: &Tour) {
    tour.says("Both take and lose running containers.");
    tour.docker("network connect mine d1");
    tour.sees(Container("d1"), "ping -c 1 -W 10 m2");
    tour.docker("network disconnect mine d1");
    tour.docker("network disconnect bridge d1");
    assert_eq!(tour.sees(Container("d1"), "ls /sys/class/net"), "lo");
    tour.docker("network connect bridge d1");
    tour.sees(Container("d1"), "ping -c 1 -W 10 192.0.2.2");
}

fn resolution(tour: &Tour) {
    tour.says("- a name server for its containers; the default one has the host's.");
    tour.sees(Container("m1"), "ping -c 1 -W 10 m2");
    tour.sees(Container("m1"), "ping -c 1 -W 10 second");
    tour.fails(Container("d1"), "ping -c 1 -W 1 d2", "bad address");
    assert!(tour.sees(Container("m1"), "cat /etc/resolv.conf").contains("nameserver 127.0.0.11"));
    assert!(!tour.sees(Container("d1"), "cat /etc/resolv.conf").contains("127.0.0.11"));
}

fn isolation(tour: &Tour) {
    tour.says("- only who was asked for: the default one has everybody who asked for nothing.");
    let members = |network: &str| {
        let names = format!("network inspect -f '{{{{range .Containers}}}}{{{{.Name}}}} {{{{end}}}}' {network}");
        let names = tour.docker(&names);
        let mut names: Vec<_> = names.split_whitespace().map(ToOwned::to_owned).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(members("bridge"), ["d1", "d2"]);
    assert_eq!(members("mine"), ["m1", "m2"]);
    for (from, to) in [("d1", tour.host.ipv4("m1", "mine")), ("m1", tour.host.ipv4("d1", "bridge"))] {
        tour.fails(Container(from), &format!("ping -c 1 -W 1 {to}"), "100% packet loss");
    }
}

fn addresses_and_aliases(tour: &Tour) {
    tour.says("- addresses and aliases that are asked for.");
    tour.docker("network create --subnet 10.1.0.0/24 chosen");
    let shown = "ip -4 -o addr show eth0";
    let inside = tour.docker(&format!("run --rm --network chosen --ip 10.1.0.9 busybox {shown}"));
    assert!(inside.contains("10.1.0.9/24"), "{inside}");
    tour.refused("run --rm --ip 172.17.0.9 busybox true", "user defined networks only");
    tour.refused("run --rm --network-alias x busybox true", "only supported for user-defined networks");
    tour.docker("network rm chosen");
}

fn links(tour: &Tour) {
    tour.says("- links that are names alone; on the default one they tell of the other's environment too.");
    let told = |network: &str, link: &str| {
        let words = format!("run --rm --network {network} --link {link}:other busybox sh -c");
        tour.docker(&format!("{words} 'ping -c 1 -W 10 other >/dev/null && env | grep -c ^OTHER_; true'"))
    };
    assert_eq!(told("mine", "m1"), "0");
    assert_ne!(told("bridge", "d1"), "0");
    let secret = tour.docker("run --rm --link d1:other busybox sh -c 'env | grep ^OTHER_ENV_'");
    assert_eq!(secret, "OTHER_ENV_SECRET=1");
}

fn settings(tour: &Tour) {
    tour.says("- settings and a bridge of its own; the default one has the daemon's.");
    let (mtu, subnet) = ("-o com.docker.network.driver.mtu=1400", "--subnet 10.2.0.0/24 --gateway 10.2.0.254");
    let id = tour.docker(&format!("network create {mtu} {subnet} tuned"));
    let own = tour.sees(Host, &format!("ip -o link show br-{}", &id[..12]));
    assert!(own.contains("mtu 1400"), "{own}");
    assert!(!tour.sees(Host, "ip -o link show docker0").contains("mtu 1400"));
    let inside = tour.docker("run --rm --network tuned busybox sh -c 'ip -o link show eth0; ip route'");
    assert!(inside.contains("mtu 1400") && inside.contains("via 10.2.0.254"), "{inside}");
    tour.docker("network rm tuned");
}

fn removal(tour: &Tour) {
    tour.says("- an end: the default one stays.");
    tour.refused("network create mine", "network with name mine already exists");
    tour.refused("network rm mine", "has active endpoints");
    tour.removes("d1 d2 m1 m2", "");
    tour.docker("network rm mine");
    tour.refused("network rm bridge", "pre-defined network and cannot be removed");
}
