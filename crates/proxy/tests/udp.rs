//! The UDP listener on loopback. Nothing is redirected here, so where clients meant to go is what the test says.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::port::{PortRange, Protocol};
use plan::listener::{Clients, Forwarding, ListenerTable};
use proxy::listener::Listening;
use proxy::listener::udp::{self, Limits};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Long enough for a busy machine; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where all clients of these tests mean to go.
const ASKED: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9000);

struct Under {
    listening: Listening,
    address: SocketAddr,
    table: Arc<ArcSwap<ListenerTable>>,
    lookups: Arc<AtomicUsize>,
}

fn leads(target: SocketAddr) -> ListenerTable {
    let ports = PortRange::single(ASKED.port());
    ListenerTable::from_iter([Forwarding {
        protocol: Protocol::Udp,
        address: ASKED.ip(),
        ports,
        target,
        clients: Clients::All,
    }])
}

fn listener(bound: &str, target: SocketAddr, limits: Limits) -> Under {
    let socket = std::net::UdpSocket::bind(bound).unwrap();
    let address = socket.local_addr().unwrap();
    let table = Arc::new(ArcSwap::from_pointee(leads(target)));
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = lookups.clone();
    let original = move |_, local: SocketAddr| {
        counted.fetch_add(1, Relaxed);
        (local.ip().is_loopback() && local.port() == address.port()).then_some(ASKED)
    };
    Under { listening: udp::serve(socket, table.clone(), original, limits).unwrap(), address, table, lookups }
}

/// Repeats each datagram after `prefix`, and, to tell flows apart, the port it came from.
async fn echo(bound: &str, prefix: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind(bound).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 65_535];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut reply = format!("{prefix} {} ", client.port()).into_bytes();
            reply.extend_from_slice(&buffer[..length]);
            let _ = socket.send_to(&reply, client).await;
        }
    });
    address
}

async fn client(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
    let socket = UdpSocket::bind(any).await.unwrap();
    // Connected, so that a reply from any other address would not arrive.
    socket.connect(server).await.unwrap();
    socket
}

/// Sends and returns prefix, port of the flow, and text of the reply.
async fn exchange(client: &UdpSocket, text: &str) -> (String, u16, String) {
    client.send(text.as_bytes()).await.unwrap();
    let mut buffer = [0; 65_535];
    let length = timeout(DEADLINE, client.recv(&mut buffer))
        .await
        .unwrap_or_else(|_| panic!("no reply to {} octets", text.len()))
        .unwrap();
    let reply = String::from_utf8(buffer[..length].to_vec()).unwrap();
    let mut parts = reply.splitn(3, ' ');
    let mut next = || parts.next().unwrap().to_owned();
    (next(), next().parse().unwrap(), next())
}

#[tokio::test]
async fn a_client_has_one_flow_and_replies_come_from_where_it_sent() {
    for (bound, reached, container) in [
        ("[::]:0", "::1", "127.0.0.1:0"),
        ("0.0.0.0:0", "127.0.0.1", "[::1]:0"),
        // Not the address that the kernel would choose for a reply.
        ("0.0.0.0:0", "127.0.0.7", "127.0.0.1:0"),
    ] {
        let under = listener(bound, echo(container, "web").await, Limits::default());
        let address = SocketAddr::new(reached.parse().unwrap(), under.address.port());
        let (one, two) = (client(address).await, client(address).await);
        let (_, flow_one, _) = exchange(&one, "a").await;
        let (_, flow_two, _) = exchange(&two, "b").await;
        assert_ne!(flow_one, flow_two);
        let long = "x".repeat(60_000);
        assert_eq!(exchange(&one, &long).await, ("web".into(), flow_one, long));
        assert_eq!(exchange(&two, "").await, ("web".into(), flow_two, String::new()));
        assert_eq!(under.lookups.load(Relaxed), 2, "one look at conntrack for each flow");
    }
}

#[tokio::test]
async fn a_flow_follows_its_port_to_another_container() {
    let under = listener("[::1]:0", echo("127.0.0.1:0", "old").await, Limits::default());
    let client = client(under.address).await;
    assert_eq!(exchange(&client, "x").await.0, "old");
    under.table.store(Arc::new(leads(echo("127.0.0.1:0", "new").await)));
    assert_eq!(exchange(&client, "x").await.0, "new");
}

#[tokio::test]
async fn idle_flows_end_and_make_room() {
    let limits = Limits { flows: 1, idle: Duration::from_millis(500) };
    let under = listener("[::1]:0", echo("127.0.0.1:0", "web").await, limits);
    let first = client(under.address).await;
    exchange(&first, "x").await;
    // There is room for one, so the second is heard only after the first has ended.
    let second = client(under.address).await;
    let heard = async {
        loop {
            second.send(b"y").await.unwrap();
            if timeout(Duration::from_millis(5), second.recv(&mut [0; 64])).await.is_ok() {
                break;
            }
        }
    };
    timeout(DEADLINE, heard).await.expect("room in time");
}

#[tokio::test]
async fn a_port_nobody_listens_on_yet_does_not_end_the_flow() {
    // Nobody else has sockets at this address, so that its port is free until it is used.
    let reserved = UdpSocket::bind("127.85.68.80:0").await.unwrap();
    let target = reserved.local_addr().unwrap();
    drop(reserved);
    let under = listener("[::1]:0", target, Limits::default());
    let client = client(under.address).await;
    client.send(b"too early").await.unwrap();
    let until = std::time::Instant::now() + DEADLINE;
    while under.lookups.load(Relaxed) == 0 && std::time::Instant::now() < until {
        tokio::task::yield_now().await;
    }
    echo(&target.to_string(), "late").await;
    assert_eq!(exchange(&client, "x").await.0, "late");
    assert_eq!(under.lookups.load(Relaxed), 1);
}

#[tokio::test]
async fn stopping_and_dropping_free_the_port() {
    for gently in [true, false] {
        let under = listener("[::1]:0", echo("127.0.0.1:0", "web").await, Limits::default());
        exchange(&client(under.address).await, "x").await;
        if gently {
            timeout(DEADLINE, under.listening.stop()).await.expect("stopped");
        } else {
            drop(under.listening);
        }
        let until = std::time::Instant::now() + DEADLINE;
        while std::net::UdpSocket::bind(under.address).is_err() {
            assert!(std::time::Instant::now() < until, "the port is still held");
            tokio::task::yield_now().await;
        }
    }
}
