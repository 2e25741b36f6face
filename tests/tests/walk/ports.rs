//! Step 7: to the outside and from it.

use conformance::{
    From::{self, Container, Host, Outside},
    eventually,
};

use crate::tour::Tour;

pub fn step(tour: &Tour) {
    tour.step("7. SNAT to the outside, DNAT of published ports");
    tour.says("Packets between links are forwarded now; linkspan has turned it on, and lets only its own pass.");
    assert_eq!(tour.sees(Host, "sysctl net.ipv4.ip_forward"), "net.ipv4.ip_forward = 1");
    tour.docker("network create other");
    tour.docker("run -d --name near busybox sleep 1000");
    tour.docker("run -d --name far --network other busybox sleep 1000");
    to_the_outside(tour);
    from_everywhere(tour);
    tour.removes("near far", "other");
}

/// A server outside tells each client the address that it came from.
fn to_the_outside(tour: &Tour) {
    tour.says("A server outside sees the host's address, whichever container asks.");
    for (protocol, table) in [("TCP", "-t"), ("UDP", "-u")] {
        let listen = format!("socat -T 5 {protocol}-LISTEN:9000,fork,reuseaddr SYSTEM:'echo $SOCAT_PEERADDR'");
        tour.sees(Outside, &format!("{listen} </dev/null >/dev/null 2>&1 &"));
        eventually("the server outside", || {
            (tour.host.outside(&format!("ss -Hln {table} '( sport = 9000 )' | grep -q .")).code == 0).then_some(())
        });
    }
    for name in ["near", "far"] {
        tour.waits(Container(name), "nc -w 10 192.0.2.2 9000", "192.0.2.1");
        tour.waits(Container(name), &udp("192.0.2.2:9000"), "192.0.2.1");
    }
}

fn from_everywhere(tour: &Tour) {
    tour.says("A published port, by TCP and UDP.");
    let echo = "socat -T 5 UDP-LISTEN:7,fork,reuseaddr EXEC:cat";
    tour.docker(&format!(
        "run -d --name web -p 8080:80 -p 7007:7/udp busybox sh -c '{echo} & exec httpd -f -p 80 -h /var/www'"
    ));
    tour.docker("port web");
    for (whence, from, address) in [
        ("from outside", Outside, "192.0.2.1"),
        ("from the host by its address", Host, "192.0.2.1"),
        ("by 127.0.0.1", Host, "127.0.0.1"),
        ("by ::1", Host, "[::1]"),
        ("from a neighbour", Container("near"), "192.0.2.1"),
        ("from another network", Container("far"), "192.0.2.1"),
        ("from the container itself (hairpin)", Container("web"), "192.0.2.1"),
    ] {
        tour.says(whence);
        tour.waits(from, &tcp(from, &format!("{address}:8080")), "hello");
        tour.waits(from, &udp(&format!("{address}:7007")), "hi");
    }
    tour.removes("web", "");
    tour.says("It goes with its container.");
    tour.fails(Outside, "curl -sS -m 2 192.0.2.1:8080", "curl");
}

/// Asks a web server.
fn tcp(from: From<'_>, target: &str) -> String {
    match from {
        Container(_) => format!("get {target}"),
        Host | Outside => format!("curl -s -m 5 {target}"),
    }
}

/// Asks an echo server, or anybody who answers whatever comes.
fn udp(target: &str) -> String {
    format!("printf hi | timeout 2 socat -t 0.5 - UDP:{target}")
}
