//! Step 6: who reaches whom, and by which name.

use conformance::From::{Container, Host};

use crate::{differences, tour::Tour};

pub fn step(tour: &Tour) {
    tour.step("6. Addresses and names");
    by_address(tour);
    by_name(tour);
    apart(tour);
    differences::show(tour);
}

fn by_address(tour: &Tour) {
    tour.says("On the default network: by address, and by name only with --link, which writes /etc/hosts.");
    tour.docker("run -d --name one busybox sleep 1000");
    tour.docker("run -d --name two busybox sleep 1000");
    let two = tour.host.ipv4("two", "bridge");
    tour.sees(Container("one"), &format!("ping -c 1 -W 10 {two}"));
    tour.fails(Container("one"), "ping -c 1 -W 1 two", "bad address");
    tour.docker("run -d --name three --link two:other busybox sleep 1000");
    let hosts = tour.sees(Container("three"), "cat /etc/hosts");
    assert!(hosts.lines().any(|line| line.starts_with(&two) && line.contains("other")), "{hosts}");
    tour.sees(Container("three"), "ping -c 1 -W 10 other");
    tour.removes("one two three", "");
}

fn by_name(tour: &Tour) {
    tour.says("On a network of one's own: by name, alias and short id, which the server at 127.0.0.11 knows.");
    tour.docker("network create back");
    tour.docker("run -d --name db --network back --network-alias store busybox sleep 1000");
    tour.docker("run -d --name web --network back busybox sleep 1000");
    let (id, address) = (tour.docker("inspect -f '{{slice .Id 0 12}}' db"), tour.host.ipv4("db", "back"));
    let resolver = tour.sees(Container("web"), "cat /etc/resolv.conf");
    assert!(resolver.lines().any(|line| line == "nameserver 127.0.0.11"), "{resolver}");
    for name in ["db", "store", id.as_str(), "db.back"] {
        let ping = tour.sees(Container("web"), &format!("ping -c 1 -W 10 {name}"));
        assert!(ping.contains(&address), "{ping}");
    }
    let answer = tour.sees(Container("web"), "nslookup db 127.0.0.11");
    assert!(answer.contains(&address), "{answer}");
    tour.removes("db web", "back");
}

fn apart(tour: &Tour) {
    tour.says("Containers on different networks do not reach each other; connect mends it live, disconnect undoes it.");
    for (network, name) in [("back", "db"), ("front", "web")] {
        tour.docker(&format!("network create {network}"));
        tour.docker(&format!("run -d --name {name} --network {network} busybox sleep 1000"));
    }
    let process = tour.host.docker("inspect -f '{{.State.Pid}}' web").ok();
    let (db, web) = (tour.host.ipv4("db", "back"), tour.host.ipv4("web", "front"));
    let lost = "100% packet loss";
    tour.fails(Container("web"), &format!("ping -c 1 -W 1 {db}"), lost);
    tour.fails(Container("db"), &format!("ping -c 1 -W 1 {web}"), lost);
    tour.fails(Container("web"), "ping -c 1 -W 1 db", "bad address");
    tour.docker("network connect back web");
    let inside = tour.sees(Container("web"), "ip -4 -o addr");
    assert!(inside.contains("eth1"), "{inside}");
    tour.sees(Container("web"), "ping -c 1 -W 10 db");
    tour.sees(Container("db"), "ping -c 1 -W 10 web");
    tour.docker("network disconnect back web");
    tour.fails(Container("web"), "ping -c 1 -W 1 db", "bad address");
    tour.fails(Container("web"), &format!("ping -c 1 -W 1 {db}"), lost);
    assert_eq!(tour.sees(Host, "docker inspect -f '{{.State.Pid}}' web"), process, "it was running all the time");
    tour.removes("db web", "back front");
}
