//! Services with real packets, over time: who is refused, who stays where, and what becomes of those whose endpoint goes.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kernel::socket::in_namespace;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};

use crate::{
    common::run,
    scenarios::{Scene, stage},
    wire::{HERE, PATIENCE},
};

const STEPS: [&str; 9] = [
    "open",
    "network app subnet=10.1.0.0/24 subnet6=fd00:1::/64",
    "network other subnet=10.2.0.0/24 subnet6=fd00:2::/64",
    "container one net=app,ip=10.1.0.2,ip6=fd00:1::2",
    "container two net=app,ip=10.1.0.3,ip6=fd00:1::3",
    "container client net=other",
    "run one",
    "run two",
    "run client",
];
const CLUSTER: &str = "cluster pods=10.1.0.0/24 pods=10.2.0.0/24 pods=fd00:1::/64 pods=fd00:2::/64 services=10.96.0.0/16 \
     services=fd00:96::/112 node=192.0.2.1 node=2001:db8::1 network=app";
const SERVICE: &str = "service web at=10.96.0.1 at=fd00:96::1 port=80/tcp,t,30080 port=53/udp,u,30053";
const BOTH: [&str; 2] = [
    "endpoints four of=web port=80/tcp,t port=53/udp,u 10.1.0.2 10.1.0.3",
    "endpoints six of=web port=80/tcp,t port=53/udp,u fd00:1::2 fd00:1::3",
];
const SECOND: [&str; 2] = [
    "endpoints four of=web port=80/tcp,t port=53/udp,u 10.1.0.3",
    "endpoints six of=web port=80/tcp,t port=53/udp,u fd00:1::3",
];
const NONE: [&str; 1] = ["remove-endpoints four six"];
const TCP: [&str; 2] = ["10.96.0.1:80", "[fd00:96::1]:80"];
const UDP: [&str; 2] = ["10.96.0.1:53", "[fd00:96::1]:53"];

/// Plays on a host with two containers that answer with their name, and a client.
fn on_host(name: &str, test: impl Fn(&mut Scene) + Sync) {
    stage(name, STEPS.iter().chain([&CLUSTER]).map(|line| (*line).to_owned()).collect(), |scene| {
        scene.play(|_, _| ());
        scene.reach("at first");
        test(scene);
    });
}

fn play(scene: &mut Scene, lines: &[&str]) {
    for line in lines {
        for outcome in scene.stage.play(line) {
            outcome.expect("to be decided");
        }
        scene.reach(line);
    }
}

fn netns(scene: &Scene, container: &str) -> PathBuf {
    let id = &scene.stage.state.container_names[container];
    scene.linux.netns_path(scene.stage.state.containers[id].sandbox.short())
}

/// Answers what is said to a container with its name, for the time of the test.
struct Answering {
    name: &'static str,
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Answering {
    fn at(scene: &Scene, name: &'static str) -> Self {
        let bound = in_namespace(&netns(scene, name), || {
            Ok::<_, io::Error>((TcpListener::bind("[::]:80")?, UdpSocket::bind("[::]:53")?))
        });
        let (tcp, udp) = bound.expect("inside").expect("to bind");
        tcp.set_nonblocking(true).expect("a socket");
        udp.set_nonblocking(true).expect("a socket");
        Self { name, tcp, udp }
    }

    /// Answers what has come. The address of a TCP client is returned.
    fn serve(&self, held: &mut Vec<TcpStream>) {
        while let Ok((mut stream, _)) = self.tcp.accept() {
            stream.write_all(self.name.as_bytes()).expect("to write");
            held.push(stream);
        }
        while let Ok((_, from)) = self.udp.recv_from(&mut [0; 16]) {
            self.udp.send_to(self.name.as_bytes(), from).expect("to send");
        }
    }
}

/// Who answers a new connection.
fn connect(from: &Path, to: &str, all: &[Answering], held: &mut Vec<TcpStream>) -> io::Result<(String, TcpStream)> {
    let to: SocketAddr = to.parse().expect("an address");
    let mut stream = in_namespace(from, || TcpStream::connect_timeout(&to, PATIENCE)).expect("inside")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut name = [0; 3];
    let deadline = Instant::now() + PATIENCE;
    stream.set_nonblocking(true)?;
    loop {
        all.iter().for_each(|one| one.serve(held));
        match stream.read_exact(&mut name) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::yield_now()
            }
            other => return other.map(|()| (String::from_utf8_lossy(&name).into_owned(), stream)),
        }
    }
}

/// Who answers a datagram of a socket.
fn say(socket: &UdpSocket, all: &[Answering]) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut again = Instant::now();
    loop {
        if Instant::now() >= again {
            socket.send(b"who?")?;
            again = Instant::now() + Duration::from_secs(1);
        }
        all.iter().for_each(|one| one.serve(&mut Vec::new()));
        let mut name = [0; 3];
        match socket.recv(&mut name) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                std::thread::yield_now()
            }
            other => return other.map(|_| String::from_utf8_lossy(&name).into_owned()),
        }
    }
}

fn udp(from: &Path, to: &str) -> UdpSocket {
    let to: SocketAddr = to.parse().expect("an address");
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = in_namespace(from, || UdpSocket::bind(any)).expect("inside").expect("to bind");
    socket.connect(to).expect("a way");
    socket.set_nonblocking(true).expect("a socket");
    socket
}

#[test]
fn those_who_ask_nobody_are_refused_at_once_every_time() {
    on_host("refused", |scene| {
        play(scene, &[SERVICE, "service none at=10.96.0.9 port=81"]);
        let outside = scene.outside.clone();
        for from in [&netns(scene, "client"), Path::new(HERE), &outside] {
            // Where no such port is, and where no service is at all.
            for to in TCP.iter().chain(&["10.96.0.1:81", "10.96.7.7:80", "192.0.2.1:30080", "[2001:db8::1]:30080"]) {
                let refused = || connect(from, to, &[], &mut Vec::new()).map(drop).map_err(|error| error.kind());
                assert_eq!([refused(), refused()], [Err(ErrorKind::ConnectionRefused); 2], "{from:?} {to}");
            }
            for to in UDP {
                let heard = || say(&udp(from, to), &[]).map_err(|error| error.kind());
                // The host's own packet goes no further than its socket.
                let refusals = [Err(ErrorKind::ConnectionRefused), Err(ErrorKind::PermissionDenied)];
                assert!(refusals.contains(&heard()) && refusals.contains(&heard()), "{from:?} {to}");
            }
        }
    });
}

#[test]
fn clients_are_spread_and_those_with_affinity_stay() {
    on_host("spread", |scene| {
        play(scene, &[SERVICE, BOTH[0], BOTH[1], "service sticky at=10.96.0.2 at=fd00:96::2 port=80/tcp,t sticky=100"]);
        let both = ["four", "six"].map(|name| {
            let ends = if name == "four" { "10.1.0.2 10.1.0.3" } else { "fd00:1::2 fd00:1::3" };
            format!("endpoints sticky-{name} of=sticky port=80/tcp,t {ends}")
        });
        play(scene, &both.each_ref().map(String::as_str));
        let all = [Answering::at(scene, "one"), Answering::at(scene, "two")];
        let mut held = Vec::new();
        let client = netns(scene, "client");
        let mut ask = |to: &str| connect(&client, to, &all, &mut held).expect("an answer").0;
        for (many, one) in TCP.into_iter().zip(["10.96.0.2:80", "[fd00:96::2]:80"]) {
            // Chance leaves one of two out of 40 once in a million million times.
            assert_eq!((0..40).map(|_| ask(many)).collect::<BTreeSet<_>>().len(), 2, "{many}");
            assert_eq!((0..40).map(|_| ask(one)).collect::<BTreeSet<_>>().len(), 1, "{one}");
        }
        let families = [("four", "10.96.0.2:80", "10.1.0"), ("six", "[fd00:96::2]:80", "fd00:1:")];
        for ((family, to, net), both) in families.into_iter().zip(&both) {
            let dot = if family == "four" { '.' } else { ':' };
            let mut ask = || connect(&client, to, &all, &mut held).expect("an answer").0;
            let first = ask();
            let left = if first == "one" { 3 } else { 2 };
            play(scene, &[&format!("endpoints sticky-{family} of=sticky port=80/tcp,t {net}{dot}{left}")]);
            let second = ask();
            assert_ne!(first, second, "{family}");
            play(scene, &[both.as_str()]);
            // It stays where it went.
            assert!((0..10).all(|_| ask() == second), "{family}");
        }
        // What is remembered of clients ends by itself.
        let known = run("nft", &["list", "ruleset"]);
        for map in ["known_clients4", "known_clients6"] {
            let (_, from) = known.split_once(&format!("map {map} {{")).expect(map);
            let (elements, _) = from.split_once("\n\t}").expect("its end");
            assert!(elements.contains("timeout 1m40s expires"), "{map}: {elements}");
        }
    });
}

#[test]
fn flows_follow_and_connections_stay() {
    on_host("moves", |scene| {
        let client = netns(scene, "client");
        // They ask before there is anybody, and go on.
        let early = UDP.map(|to| udp(&client, to));
        for socket in &early {
            let _ = socket.send(b"who?");
        }
        play(scene, &[SERVICE]);
        for socket in &early {
            let _ = socket.send(b"who?");
            let _ = socket.take_error();
        }
        play(scene, &BOTH);
        let all = [Answering::at(scene, "one"), Answering::at(scene, "two")];
        let answer = |socket: &UdpSocket| {
            let deadline = Instant::now() + PATIENCE;
            loop {
                match say(socket, &all) {
                    // What was refused before is told late.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {}
                    other => return other.expect("an answer"),
                }
            }
        };
        early.iter().for_each(|socket| drop(answer(socket)));

        let flows: Vec<(UdpSocket, String)> = (0..12)
            .flat_map(|_| UDP.map(|to| udp(&client, to)))
            .map(|socket| {
                let name = answer(&socket);
                (socket, name)
            })
            .collect();
        let mut held = Vec::new();
        let connections: Vec<_> =
            (0..12).flat_map(|_| TCP.map(|to| connect(&client, to, &all, &mut held).expect("an answer"))).collect();
        play(scene, &SECOND);
        for (socket, was) in &flows {
            assert_eq!(answer(socket), "two", "was {was}");
        }
        // Nobody asked the others to go elsewhere, and connections that stand go on where they are.
        for stream in &mut held {
            stream.write_all(b"still").expect("to write");
        }
        for (name, stream) in connections {
            let mut heard = [0; 5];
            stream.set_nonblocking(false).expect("a socket");
            (&stream).read_exact(&mut heard).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        play(scene, &NONE);
        for (socket, _) in &flows {
            assert_eq!(say(socket, &all).map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
        }
        play(scene, &BOTH);
        flows.iter().for_each(|(socket, _)| drop(answer(socket)));
    });
}

/// What of an endpoint's packets belongs to no connection would reach the client from an address that it never asked, and its answer would
/// end the connection.
#[test]
fn packets_of_no_connection_do_not_reach_clients() {
    on_host("strange", |scene| {
        play(scene, &[SERVICE, "endpoints four of=web port=80/tcp,t port=53/udp,u 10.1.0.2"]);
        let all = [Answering::at(scene, "one")];
        let (client, end) = (netns(scene, "client"), netns(scene, "one"));
        let mut held = Vec::new();
        let (_, stream) = connect(&client, TCP[0], &all, &mut held).expect("an answer");
        let seen = raw_tcp(&client);
        let to = held[0].peer_addr().expect("a peer");
        let strange = out_of_window((Ipv4Addr::new(10, 1, 0, 2), 80), (v4(to), to.port()));
        let at = SocketAddrV4::new(v4(to), 0);
        assert_eq!(sendto(raw_tcp(&end), &strange, SendFlags::empty(), &at).expect("to send"), strange.len());
        held[0].write_all(b"still").expect("to write");
        stream.set_nonblocking(false).expect("a socket");
        (&stream).read_exact(&mut [0; 5]).expect("it goes on");
        let mut packet = [0; 128];
        let mut sources = BTreeSet::new();
        while let Ok((length, _)) = recv(&seen, &mut packet[..], RecvFlags::DONTWAIT) {
            assert!(length >= 20, "an IPv4 header");
            sources.insert(Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]));
        }
        assert_eq!(sources, BTreeSet::from([Ipv4Addr::new(10, 96, 0, 1)]));
    });
}

/// A socket that gets, and sends, all of TCP.
fn raw_tcp(netns: &Path) -> OwnedFd {
    let open = || socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::TCP));
    in_namespace(netns, open).expect("inside").expect("a raw socket")
}

fn v4(address: SocketAddr) -> Ipv4Addr {
    match address.ip().to_canonical() {
        IpAddr::V4(address) => address,
        IpAddr::V6(address) => panic!("{address} is no IPv4 address"),
    }
}

/// A segment that is not where the connection is (RFC 9293, 3.1), with its checksum.
fn out_of_window(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    const ACK: u8 = 0x10;
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend(0x1234_5678_u32.to_be_bytes());
    segment.extend(0x8765_4321_u32.to_be_bytes());
    segment.extend([5 << 4, ACK, 0xff, 0xff, 0, 0, 0, 0]);
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, 6], &(segment.len() as u16).to_be_bytes()].concat();
    let words = pseudo.chunks(2).chain(segment.chunks(2)).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    segment[16..18].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    segment
}
