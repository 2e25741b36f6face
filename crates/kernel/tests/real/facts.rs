//! What the host tells about itself.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use kernel::{
    conntrack::{End, Filter},
    facts::Facts,
    socket::{DNS_ADDRESS, dns_sockets, in_private_namespaces},
};
use netstate::{
    NetState,
    netns::{Netns, NetnsName},
};

use crate::common::*;

#[test]
fn routes_addresses_and_the_way_out() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        bridge(&mut state);
        apply(&mut linux, &creation(&state));
        let mut facts = linux.facts().expect("facts");
        let way_out = |facts: &mut Facts| {
            let routes = facts.routes(&BTreeSet::new()).expect("routes");
            facts.default_route(&routes).expect("to look")
        };
        assert_eq!(way_out(&mut facts), None);
        ip("link add up0 mtu 1400 type bridge");
        ip("link set up0 up");
        ip("address add 192.0.2.2/24 dev up0");
        ip("route add default via 192.0.2.1 dev up0 metric 100");
        ip("route add 10.8.0.0/16 via 192.0.2.1");
        ip("-6 route add default via fe80::1 dev up0");
        let way = way_out(&mut facts).expect("a default route");
        assert_eq!((way.device.as_str(), way.mtu, way.via), ("up0", 1400, "192.0.2.1".parse().ok()));
        ip("route add default via 192.0.2.1 dev up0 metric 50 mtu 1300");
        assert_eq!(way_out(&mut facts).expect("a default route").mtu, 1300);
        let routes = facts.routes(&BTreeSet::new()).expect("routes");
        let find = |text: &str| {
            routes.iter().find(|r| r.destination == net(text)).unwrap_or_else(|| panic!("no {text}: {routes:?}"))
        };
        assert!(!find("10.8.0.0/16").ours && !find("192.0.2.0/24").ours);
        assert!(find("172.17.0.0/16").ours && find("fd00::/64").ours);
        assert!(routes.iter().all(|r| r.destination != net("127.0.0.0/8")), "{routes:?}");
        let known = BTreeSet::from([net("172.17.0.0/16"), net("fd00::/64")]);
        let beyond = facts.routes(&known).expect("routes");
        assert_eq!(beyond, routes.into_iter().filter(|r| !known.contains(&r.destination)).collect::<Vec<_>>());
        let addresses = facts.addresses().expect("addresses");
        let ours: Vec<_> = addresses.iter().map(|a| (a.link.as_str(), a.address.to_string(), a.ours)).collect();
        assert!(ours.contains(&("br0", "172.17.0.1/16".into(), true)), "{ours:?}");
        assert!(ours.contains(&("up0", "192.0.2.2/24".into(), false)), "{ours:?}");
        assert!(facts.local_port_range().contains(&40000));
        run("sysctl", &["-qw", "net.ipv4.ip_local_port_range=41000 41999"]);
        assert_eq!(facts.local_port_range(), 41000..=41999, "as it is now");
        // Here, not where whoever asks happens to be.
        let elsewhere = in_private_namespaces(|| facts.local_port_range()).expect("namespaces");
        assert_eq!(elsewhere, 41000..=41999);
    });
}

#[test]
fn who_listens_on_a_port() {
    world(|run_dir| {
        let linux = Linux::open(run_dir).expect("to open");
        let mut facts = linux.facts().expect("facts");
        let tcp = TcpListener::bind("127.0.0.1:8080").expect("to bind");
        let udp = UdpSocket::bind("[::]:8080").expect("to bind");
        for (protocol, address) in [(6, tcp.local_addr()), (17, udp.local_addr())] {
            let found = facts.listeners(protocol, &(8080..=8080)).expect("listeners");
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].address, address.expect("an address"));
            assert_eq!(found[0].process.as_ref().expect("a process").pid, std::process::id());
        }
        assert_eq!(facts.listeners(6, &(8081..=8081)).expect("listeners"), vec![]);
    });
}

#[test]
fn dns_sockets_are_inside_and_served_from_outside() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        state.put(NetnsName::named("box"), Netns {});
        apply(&mut linux, &creation(&state));
        let path = linux.netns_path("box");
        let (udp, tcp) = dns_sockets(&path).expect("sockets");
        let client =
            kernel::socket::in_namespace(&path, || UdpSocket::bind("127.0.0.1:0")).expect("inside").expect("to bind");
        client.send_to(b"?", DNS_ADDRESS).expect("to send");
        let mut byte = [0];
        udp.recv_from(&mut byte).expect("a question");
        assert_eq!((byte, tcp.local_addr().expect("an address")), ([b'?'], SocketAddr::V4(DNS_ADDRESS)));
    });
}

#[test]
fn connections_are_found_and_forgotten() {
    world(|run_dir| {
        let linux = Linux::open(run_dir).expect("to open");
        let server = TcpListener::bind("127.0.0.1:9000").expect("to bind");
        run(
            "nft",
            &[
                "add table ip nat; add chain ip nat output { type nat hook output priority -100; }; add rule ip nat output ip daddr 127.0.0.9 tcp dport 80 dnat to 127.0.0.1:9000",
            ],
        );
        let mut client = TcpStream::connect("127.0.0.9:80").expect("to connect");
        let (mut accepted, peer) = server.accept().expect("to accept");
        client.write_all(b"x").expect("to write");
        accepted.read_exact(&mut [0]).expect("to read");
        let mut conntrack = linux.conntrack(&NetnsName::Host).expect("to open");
        let local = accepted.local_addr().expect("an address");
        let find = |conntrack: &mut kernel::conntrack::Conntrack| {
            conntrack.original_destination(6, peer, local).expect("to look")
        };
        assert_eq!(find(&mut conntrack), "127.0.0.9:80".parse().ok());
        let filter = |end, address: &str, port| Filter {
            end,
            address: address.parse().expect("an address"),
            protocol: Some(6),
            port,
        };
        let others = [
            filter(End::OriginalDestination, "127.0.0.9", Some(81)),
            filter(End::OriginalDestination, "127.0.0.1", None),
            filter(End::ReplySource, "127.0.0.9", None),
            Filter { protocol: Some(17), ..filter(End::ReplySource, "127.0.0.1", None) },
        ];
        for other in others {
            conntrack.forget(&other).expect("to forget");
            assert!(find(&mut conntrack).is_some(), "{other:?}");
        }
        conntrack.forget(&filter(End::ReplySource, "127.0.0.1", Some(9000))).expect("to forget");
        assert_eq!(find(&mut conntrack), None);
    });
}
