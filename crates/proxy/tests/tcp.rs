//! The TCP listener on loopback. Nothing is redirected here, so the listener's own address is what clients ask for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::port::{PortRange, Protocol};
use plan::listener::{Clients, Forwarding, ListenerTable};
use proxy::listener::Listening;
use proxy::listener::tcp::{self, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Long enough for a busy machine; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(30);

type Table = Arc<ArcSwap<ListenerTable>>;

fn leads(asked: SocketAddr, target: SocketAddr) -> ListenerTable {
    let ports = PortRange::single(asked.port());
    ListenerTable::from_iter([Forwarding {
        protocol: Protocol::Tcp,
        address: asked.ip(),
        ports,
        target,
        clients: Clients::All,
    }])
}

/// A listener on `::1` that leads to `target`.
fn listener(target: SocketAddr, limits: Limits) -> (Listening, SocketAddr, Table) {
    let socket = std::net::TcpListener::bind("[::1]:0").unwrap();
    let address = socket.local_addr().unwrap();
    let table = Arc::new(ArcSwap::from_pointee(leads(address, target)));
    (tcp::serve(socket, table.clone(), limits).unwrap(), address, table)
}

/// An IPv4 server that says `greeting`, reads to the end, and then says how many octets it read.
async fn counter(greeting: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    rustix::net::listen(&listener, 4096).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(greeting.as_bytes()).await?;
                let mut read = Vec::new();
                stream.read_to_end(&mut read).await?;
                stream.write_all(format!("{} octets", read.len()).as_bytes()).await
            });
        }
    });
    address
}

/// Sends `octets`, half-closes, and returns all that comes back.
async fn exchange(address: SocketAddr, octets: usize) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&vec![7; octets]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut text)).await.expect("an end in time").unwrap();
    text
}

/// How a connection ends on which nothing is sent: `reset`, or what came.
async fn fate(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut text = String::new();
    match timeout(DEADLINE, stream.read_to_string(&mut text)).await.expect("an end in time") {
        Ok(_) => text,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => "reset".into(),
        Err(error) => error.to_string(),
    }
}

/// A port at which nobody listens, as long as it is held.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[tokio::test]
async fn each_half_closes_by_itself() {
    let (_listening, address, _) = listener(counter("hello ").await, Limits::default());
    for octets in [0, 1, 100_000, 3_000_000] {
        assert_eq!(exchange(address, octets).await, format!("hello {octets} octets"));
    }
}

#[tokio::test]
async fn the_server_may_finish_first() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_listening, address, _) = listener(server.local_addr().unwrap(), Limits::default());
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut inside, _) = server.accept().await.unwrap();
    inside.write_all(b"bye").await.unwrap();
    inside.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "bye");
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    text.clear();
    timeout(DEADLINE, inside.read_to_string(&mut text)).await.expect("an end in time").unwrap();
    assert_eq!(text, "still here");
}

#[tokio::test]
async fn clients_that_lead_nowhere_are_reset() {
    let (_held, closed) = closed_port();
    let (_listening, address, table) = listener(closed, Limits::default());
    assert_eq!(fate(address).await, "reset", "the container does not listen");
    table.store(Arc::new(ListenerTable::default()));
    assert_eq!(fate(address).await, "reset", "the port is not published");
}

#[tokio::test]
async fn a_reset_by_the_server_reaches_the_client() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_listening, address, _) = listener(server.local_addr().unwrap(), Limits::default());
    let fate = tokio::spawn(fate(address));
    let (inside, _) = server.accept().await.unwrap();
    inside.set_zero_linger().unwrap();
    drop(inside);
    assert_eq!(fate.await.unwrap(), "reset");
}

#[tokio::test]
async fn a_swapped_table_leads_new_clients_only() {
    let (_listening, address, table) = listener(counter("old ").await, Limits::default());
    let mut old = TcpStream::connect(address).await.unwrap();
    let mut greeting = [0; 4];
    old.read_exact(&mut greeting).await.unwrap();
    table.store(Arc::new(leads(address, counter("new ").await)));
    assert_eq!(exchange(address, 5).await, "new 5 octets");
    old.shutdown().await.unwrap();
    let mut rest = String::new();
    old.read_to_string(&mut rest).await.unwrap();
    assert_eq!((&greeting, rest.as_str()), (b"old ", "0 octets"));
}

#[tokio::test]
async fn stopping_spares_those_who_are_connected_and_dropping_does_not() {
    let (listening, address, _) = listener(counter("x ").await, Limits::default());
    let mut client = TcpStream::connect(address).await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    let stopped = tokio::spawn(listening.stop());
    timeout(DEADLINE, async { while TcpStream::connect(address).await.is_ok() {} }).await.expect("no new clients");
    assert!(!stopped.is_finished());
    client.write_all(b"1234").await.unwrap();
    client.shutdown().await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "4 octets");
    timeout(DEADLINE, stopped).await.expect("stopped after the last").unwrap();

    let (listening, address, _) = listener(counter("x ").await, Limits::default());
    let mut client = TcpStream::connect(address).await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    drop(listening);
    let _ = timeout(DEADLINE, client.read_to_string(&mut text)).await.expect("cut");
}

#[tokio::test]
async fn clients_over_the_limit_wait_for_their_turn() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let (_listening, address, _) = listener(counter("x ").await, limits);
    let mut first = TcpStream::connect(address).await.unwrap();
    first.read_exact(&mut [0; 2]).await.unwrap();
    let second = tokio::spawn(exchange(address, 9));
    first.shutdown().await.unwrap();
    first.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(timeout(DEADLINE, second).await.expect("a turn").unwrap(), "x 9 octets");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_at_once() {
    // Four sockets for each client are in this one process.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    let clients = files.maximum.map_or(1000, |most| most.min(4096 + 64) as usize / 4 - 16).min(1000);
    if clients < 1000 {
        eprintln!("SKIPPED: only {clients} clients, for no more files may be open");
    }

    let (_listening, address, _) = listener(counter("hello ").await, Limits::default());
    let everyone = Arc::new(tokio::sync::Barrier::new(clients));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let everyone = everyone.clone();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.read_exact(&mut [0; 6]).await.unwrap();
            everyone.wait().await;
            stream.write_all(&[7; 10_000]).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "10000 octets");
        });
    }
    timeout(DEADLINE, tasks.join_all()).await.expect("all served in time");
}
