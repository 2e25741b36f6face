//! Packets go where the rules say.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    time::Duration,
};

use kernel::socket::in_namespace;
use netstate::{
    NetState,
    netns::NetnsName,
    nft::{
        Action, Chain, ChainKey, ChainType, CtStatus, Datatype, Family, Field, Hook, IcmpReject, Match, NatFamily,
        NatTarget, Policy, Span, Table, TableKey, Value,
    },
    sysctl::{Sysctl, SysctlKey},
};

use crate::{common::*, sample::*, wire::*};

/// Two containers on `br0`, forwarding on.
fn two_containers() -> NetState {
    let mut state = NetState::default();
    bridge(&mut state);
    endpoint(&mut state, 1);
    endpoint(&mut state, 2);
    let forwarding = SysctlKey { netns: NetnsName::Host, path: "net/ipv4/ip_forward".into() };
    state.put(forwarding, Sysctl { value: "1".into() });
    // With it a container's own frames, once translated, would have to leave by the port they came in by (hairpin mode).
    let path = "net/bridge/bridge-nf-call-iptables";
    if Path::new("/proc/sys").join(path).exists() {
        state.put(SysctlKey { netns: NetnsName::Host, path: path.into() }, Sysctl { value: "0".into() });
    }
    state.put(table(Family::Inet), Table {});
    state
}

#[test]
fn a_range_of_ports_is_published_by_one_element() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = two_containers();
        let f = Family::Inet;
        let key = [Datatype::Ipv4Addr, Datatype::InetProto, Datatype::InetService];
        put_set(&mut state, f, "published", &key, &[Datatype::Ipv4Addr], true);
        put_set(&mut state, f, "moved", &key, &[Datatype::Ipv4Addr, Datatype::InetService], false);
        let any = Span { first: ip4("0.0.0.0"), last: ip4("255.255.255.255") };
        put_element(
            &mut state,
            f,
            "published",
            &[any, Value::Proto(6).into(), ports(20000, 29999)],
            &[ip4("172.17.0.2")],
        );
        let one = [ip4("172.17.0.1").into(), Value::Proto(6).into(), Value::Port(8080).into()];
        put_element(&mut state, f, "moved", &one, &[ip4("172.17.0.2"), Value::Port(80)]);
        let fields = vec![Field::Ip4Daddr, Field::L4Proto, Field::Dport];
        let map = |map: &str, with_port| {
            Action::Dnat(NatTarget::Map { family: NatFamily::Ip, fields: fields.clone(), map: map.into(), with_port })
        };
        let dnat = vec![
            rule("one port", vec![Match::FibDaddrLocal], map("moved", true)),
            rule("ranges", vec![Match::FibDaddrLocal], map("published", false)),
        ];
        let snat = vec![rule("hairpin", vec![Match::CtStatus(CtStatus::Dnat)], Action::Masquerade)];
        for (name, hook, priority, rules) in [
            ("prerouting", Hook::Prerouting, -100, dnat.clone()),
            ("output", Hook::Output, -100, dnat),
            ("postrouting", Hook::Postrouting, 100, snat),
        ] {
            let base = base(ChainType::Nat, hook, priority, Policy::Accept);
            state.put(ChainKey { table: table(f), name: name.into() }, Chain { base, rules });
        }
        apply(&mut linux, &creation(&state));
        let (c1, c2) = (linux.netns_path("c1"), linux.netns_path("c2"));
        for (from, to, at) in [
            (c2.as_path(), "172.17.0.1:20000", "0.0.0.0:20000"),
            (&c2, "172.17.0.1:29999", "0.0.0.0:29999"),
            (&c1, "172.17.0.1:25000", "0.0.0.0:25000"),
            (Path::new(HERE), "172.17.0.1:25001", "0.0.0.0:25001"),
            (&c2, "172.17.0.1:8080", "0.0.0.0:80"),
        ] {
            let server = listen(&c1, at);
            let mut client = connect(from, to).unwrap_or_else(|error| panic!("{to}: {error}"));
            client.write_all(b"x").expect("to write");
            let mut byte = [0];
            server.accept().expect("to accept").0.read_exact(&mut byte).expect("to read");
            assert_eq!(byte, [b'x']);
        }
        let _outside = listen(&c1, "0.0.0.0:30000");
        assert_eq!(connect(&c2, "172.17.0.1:30000").expect_err("not published").kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn what_is_refused_is_refused_at_once_and_frames_are_kept_apart() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = two_containers();
        let refuse = rule(
            "to the host",
            vec![within(Field::Ip4Daddr, "172.17.0.1/32")],
            Action::Reject(IcmpReject::AdminProhibited),
        );
        let input = Chain { base: base(ChainType::Filter, Hook::Input, 0, Policy::Accept), rules: vec![refuse] };
        state.put(chain_key(Family::Inet, "input"), input);
        apply(&mut linux, &creation(&state));
        let (c1, c2) = (linux.netns_path("c1"), linux.netns_path("c2"));
        let _host = TcpListener::bind("172.17.0.1:80").expect("to bind");
        assert_eq!(connect(&c1, "172.17.0.1:80").expect_err("refused").kind(), ErrorKind::ConnectionRefused);
        let udp = in_namespace(&c1, || UdpSocket::bind("0.0.0.0:0")).expect("inside").expect("to bind");
        udp.connect("172.17.0.1:53").expect("to connect");
        udp.set_read_timeout(Some(PATIENCE)).expect("to set");
        udp.send(b"?").expect("to send");
        assert_eq!(udp.recv(&mut [0]).expect_err("refused").kind(), ErrorKind::HostUnreachable);

        let server = listen(&c2, "0.0.0.0:80");
        connect(&c1, "172.17.0.3:80").expect("one network");
        server.accept().expect("to accept");
        let f = Family::Bridge;
        let mut apart = NetState::default();
        apart.put(table(f), Table {});
        put_set(&mut apart, f, "ports", &[Datatype::IfName], &[], false);
        for port in ["v1", "v2"] {
            put_element(&mut apart, f, "ports", &[Value::IfName(port.into()).into()], &[]);
        }
        let rules = vec![rule("apart", vec![in_set(&[Field::IifName], netstate::nft::Op::Eq, "ports")], Action::Drop)];
        apart.put(
            chain_key(f, "forward"),
            Chain { base: base(ChainType::Filter, Hook::Forward, 0, Policy::Accept), rules },
        );
        apply(&mut linux, &creation(&apart));
        let address: SocketAddr = "172.17.0.3:80".parse().expect("an address");
        let blocked =
            in_namespace(&c1, || TcpStream::connect_timeout(&address, Duration::from_millis(200))).expect("inside");
        assert!(blocked.is_err(), "frames between ports are dropped");
    });
}

#[test]
fn dns_in_a_sandbox_reaches_the_sockets_handed_out() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = two_containers();
        let sandbox = TableKey { netns: NetnsName::named("c1"), family: Family::Inet };
        state.put(sandbox.clone(), Table {});
        let redirect = |protocol| {
            let matches = vec![
                is(Field::Ip4Daddr, ip4("127.0.0.11")),
                is(Field::L4Proto, Value::Proto(protocol)),
                is(Field::Dport, Value::Port(53)),
            ];
            let to = NatTarget::To { address: "127.0.0.11".parse().expect("an address"), port: Some(41053) };
            rule("dns", matches, Action::Dnat(to))
        };
        let rules = vec![redirect(17), redirect(6)];
        let base = base(ChainType::Nat, Hook::Output, -100, Policy::Accept);
        state.put(ChainKey { table: sandbox, name: "output".into() }, Chain { base, rules });
        apply(&mut linux, &creation(&state));
        let c1 = linux.netns_path("c1");
        let (server, tcp) = kernel::socket::dns_sockets(&c1).expect("sockets");
        let client = in_namespace(&c1, || UdpSocket::bind("0.0.0.0:0")).expect("inside").expect("to bind");
        client.set_read_timeout(Some(PATIENCE)).expect("to set");
        client.send_to(b"?", "127.0.0.11:53").expect("to send");
        let mut byte = [0];
        let (_, from) = server.recv_from(&mut byte).expect("a question");
        server.send_to(b"!", from).expect("to answer");
        let (_, answerer) = client.recv_from(&mut byte).expect("an answer");
        assert_eq!((byte, answerer.to_string().as_str()), ([b'!'], "127.0.0.11:53"));
        connect(&c1, "127.0.0.11:53").expect("to connect");
        tcp.accept().expect("to accept");
    });
}
