//! Virtual packets through the host.

use netstate::trace::{Origin, Packet, Surroundings, origin, trace};

use crate::{
    golden,
    host::{around, host, link, netns},
};

const TCP: u8 = 6;
const UDP: u8 = 17;

fn socket(inside: &str, destination: &str, port: u16) -> Packet {
    let destination = destination.parse().expect("an address");
    Packet { from: Origin::Socket(netns(inside)), source: None, source_port: 40000, destination, port, proto: TCP }
}

fn outside(destination: &str, port: u16) -> Packet {
    let source = Some([198, 51, 100, 7].into());
    Packet { from: Origin::Wire(link("host", "eth0")), source, ..socket("host", destination, port) }
}

/// Whether there is an answer.
const YES: bool = true;
const NO: bool = false;

#[test]
fn where_packets_go() {
    let udp = |packet| Packet { proto: UDP, ..packet };
    let cases = [
        (
            "web to db on one network",
            socket("web", "172.17.0.3", 5432),
            "delivered at db:eth0: 172.17.0.2:40000 > 172.17.0.3:5432",
            YES,
        ),
        (
            "web to db by IPv6",
            socket("web", "fd00:17::1", 1),
            "delivered at host:docker0: [fd00:17::2]:40000 > [fd00:17::1]:1",
            YES,
        ),
        (
            "web to job, who may not talk",
            socket("web", "172.18.0.3", 80),
            "dropped: drop by rule \"no talk on br-back\"",
            NO,
        ),
        (
            "db to job on another network",
            socket("db", "172.18.0.3", 80),
            "dropped: reject with icmpx admin-prohibited",
            NO,
        ),
        (
            "db to the outside",
            socket("db", "203.0.113.5", 443),
            "left by host:eth0: 192.0.2.10:40000 > 203.0.113.5:443",
            YES,
        ),
        (
            "outside to a published port",
            outside("192.0.2.10", 8080),
            "delivered at web:eth0: 198.51.100.7:40000 > 172.17.0.2:80",
            YES,
        ),
        (
            "outside into a published range",
            udp(outside("192.0.2.10", 9050)),
            "delivered at web:eth0: 198.51.100.7:40000 > 172.17.0.2:53",
            YES,
        ),
        (
            "outside beside the range",
            udp(outside("192.0.2.10", 9100)),
            "delivered at host:eth0: 198.51.100.7:40000 > 192.0.2.10:9100",
            YES,
        ),
        ("outside straight to a container", outside("172.17.0.2", 80), "dropped: drop by rule \"not published\"", NO),
        (
            "the host to its published port",
            socket("host", "192.0.2.10", 8080),
            "delivered at web:eth0: 192.0.2.10:40000 >",
            YES,
        ),
        (
            "the host by loopback",
            socket("host", "127.0.0.1", 8080),
            "delivered at web:eth0: 172.17.0.1:40000 > 172.17.0.2:80",
            YES,
        ),
        ("the host to a container", socket("host", "172.17.0.3", 22), "delivered at db:eth0: 172.17.0.1:40000 >", YES),
        (
            "web to its own published port",
            socket("web", "192.0.2.10", 8080),
            "delivered at web:eth0: 172.17.0.1:40000 >",
            YES,
        ),
        (
            "job to a published port",
            socket("job", "192.0.2.10", 8080),
            "delivered at web:eth0: 172.17.0.1:40000 >",
            YES,
        ),
        ("web to nobody", socket("web", "172.17.0.9", 80), "dropped: nobody on host:docker0 has 172.17.0.9", NO),
        ("no network at all", socket("alone", "172.17.0.2", 80), "dropped: alone has no route to 172.17.0.2", NO),
        (
            "alone to itself",
            socket("alone", "127.0.0.1", 80),
            "delivered at alone:lo: 127.0.0.1:40000 > 127.0.0.1:80",
            YES,
        ),
        (
            "alone to another of its loopback addresses",
            socket("alone", "127.0.0.2", 80),
            "delivered at alone:lo: 127.0.0.1:40000 > 127.0.0.2:80",
            YES,
        ),
        (
            "the host to its second address",
            socket("host", "192.0.2.11", 22),
            "delivered at host:eth0: 192.0.2.10:40000 > 192.0.2.11:22",
            YES,
        ),
    ];
    let (state, around) = (host(), around());
    let mut text = String::new();
    let mut failures = String::new();
    for (title, packet, end, connects) in cases {
        let trace = trace(&state, &around, &packet);
        text += &format!("## {title}\n{trace}\n");
        if !trace.there.end.to_string().starts_with(end) || trace.connects() != connects {
            failures += &format!("## {title}: expected {end}, answered: {connects}\n{trace}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
    golden("trace.txt", &text);
}

#[test]
fn listeners_are_asked_where_they_are_known() {
    let listeners = Some([(netns("db"), TCP, 5432)].into());
    let around = Surroundings { listeners, ..around() };
    let end = |port| trace(&host(), &around, &socket("web", "172.17.0.3", port)).there.end.to_string();
    assert!(end(5432).starts_with("delivered"));
    assert_eq!(end(80), "dropped: nobody listens on tcp port 80 in db");
}

#[test]
fn origins_are_found_by_address() {
    let origin = |address: &str| origin(&host(), &around(), address.parse().expect("an address"));
    assert_eq!(origin("172.18.0.3"), Some(Origin::Socket(netns("job"))));
    assert_eq!(origin("192.0.2.10"), Some(Origin::Socket(netns("host"))));
    assert_eq!(origin("203.0.113.9"), Some(Origin::Wire(link("host", "eth0"))));
}
