//! The DNS server over real sockets on loopback, with servers outside that answer, fail, stall and lie.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use model::{NetworkId, SandboxId};
use plan::dns::{Attached, DnsView, EndpointNames, Forward, NetworkNames, Unqualified, Upstream, Way};
use proxy::dns::{Limits, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Long enough for a busy machine; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

fn network() -> NetworkId {
    NetworkId::from_bytes([1; 32])
}

fn sandbox(n: u8) -> SandboxId {
    SandboxId::from_bytes([n; 32])
}

fn names(web: &str) -> Arc<NetworkNames> {
    let mut names = NetworkNames::new("back");
    names.insert(&EndpointNames { names: vec!["web".into()], addresses: vec![web.parse().unwrap()] });
    Arc::new(names)
}

fn view(upstream: &[SocketAddr]) -> Arc<DnsView> {
    Arc::new(DnsView {
        networks: vec![Attached { network: network(), links: Default::default() }],
        forward: Forward::Upstream(upstream.iter().map(|&address| Upstream { address, by: Way::Host }).collect()),
        unqualified: Unqualified::Forward,
    })
}

/// UDP and TCP on one port of loopback.
fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            return (udp, tcp, address);
        }
    }
}

fn server(limits: Limits) -> Server {
    let mut server = Server::new(Handle::current(), limits);
    server.set_names(&network(), names("10.0.0.1"));
    server
}

fn serve(server: &mut Server, sandbox: SandboxId, upstream: &[SocketAddr]) -> SocketAddr {
    let (udp, tcp, address) = sockets();
    server.serve(sandbox, udp, tcp, view(upstream)).unwrap();
    address
}

fn query(name: &str, id: u16) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), RecordType::A));
    message
}

/// Code and addresses, as in `No Error 10.0.0.1`.
fn text(reply: &Message) -> String {
    let truncated = if reply.metadata.truncation { " truncated" } else { "" };
    let addresses = reply.answers.iter().map(|record| format!(" {}", record.data));
    format!("{}{truncated}{}", reply.metadata.response_code, addresses.collect::<String>())
}

async fn ask_udp(server: SocketAddr, name: &str) -> String {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(server).await.unwrap();
    let sent = query(name, 0x7e57);
    socket.send(&sent.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 4096];
    let length = timeout(DEADLINE, socket.recv(&mut buffer)).await.expect("an answer in time").unwrap();
    let reply = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(reply.metadata.id, 0x7e57);
    assert!(reply.queries[0].name().eq_case(sent.queries[0].name()), "the case of the question is kept");
    text(&reply)
}

async fn ask_tcp(server: SocketAddr, questions: &[&str]) -> Vec<String> {
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    for (id, name) in (0..).zip(questions) {
        let packet = query(name, id).to_vec().unwrap();
        stream.write_u16(packet.len() as u16).await.unwrap();
        stream.write_all(&packet).await.unwrap();
    }
    let mut replies = Vec::new();
    for (id, _) in (0..).zip(questions) {
        let reply = timeout(DEADLINE, read(&mut stream)).await.expect("an answer in time");
        assert_eq!(reply.metadata.id, id);
        replies.push(text(&reply));
    }
    replies
}

async fn read(stream: &mut tokio::net::TcpStream) -> Message {
    let mut packet = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut packet).await.unwrap();
    Message::from_vec(&packet).unwrap()
}

/// What a server outside does. Each one that answers says the name's own address, 192.0.2.N.
#[derive(Debug, Clone, Copy)]
enum Outside {
    Answers(u8),
    Fails(ResponseCode),
    /// By UDP it says "truncated", by TCP it answers.
    Truncates(u8),
    /// Sends replies with a wrong id and a wrong question before the right one.
    LiesFirst(u8),
    /// Sends replies with a wrong id only.
    Lies,
    /// Never says a word.
    Silent,
    /// Nobody listens there.
    Closed,
}

async fn outside(kind: Outside) -> SocketAddr {
    let (udp, tcp, address) = sockets();
    if matches!(kind, Outside::Closed) {
        return address;
    }
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
    let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((length, client)) = udp.recv_from(&mut buffer).await {
            for reply in replies(kind, &Message::from_vec(&buffer[..length]).unwrap(), false) {
                udp.send_to(&reply, client).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let query = read(&mut stream).await;
            for reply in replies(kind, &query, true) {
                stream.write_u16(reply.len() as u16).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        }
    });
    address
}

fn replies(kind: Outside, query: &Message, tcp: bool) -> Vec<Vec<u8>> {
    let mut reply = query.clone().into_response();
    let name = query.queries[0].name().clone();
    let mut answer = |n: u8| {
        reply.add_answer(Record::from_rdata(name.clone(), 60, RData::A(A::new(192, 0, 2, n))));
        reply.clone()
    };
    let replies = match kind {
        Outside::Answers(n) => vec![answer(n)],
        Outside::Truncates(n) if tcp => vec![answer(n)],
        Outside::Truncates(_) => {
            reply.metadata.truncation = true;
            vec![reply]
        }
        Outside::Fails(code) => {
            reply.metadata.response_code = code;
            vec![reply]
        }
        Outside::LiesFirst(n) => {
            let truth = answer(n);
            let (mut id, mut question) = (truth.clone(), truth.clone());
            id.metadata.id ^= 1;
            question.queries = vec![Query::query(Name::from_str("evil.example.").unwrap(), RecordType::A)];
            vec![id, question, truth]
        }
        Outside::Lies => {
            let mut lie = answer(66);
            lie.metadata.id ^= 1;
            vec![lie]
        }
        Outside::Silent | Outside::Closed => vec![],
    };
    replies.iter().map(|reply| reply.to_vec().unwrap()).collect()
}

#[tokio::test]
async fn own_names_over_udp_and_tcp() {
    let mut server = server(Limits::default());
    let address = serve(&mut server, sandbox(1), &[]);
    assert_eq!(ask_udp(address, "wEB.Back").await, "No Error 10.0.0.1");
    assert_eq!(ask_udp(address, "elsewhere.example").await, "Server Failure");
    assert_eq!(
        ask_tcp(address, &["web", "web.back", "x"]).await,
        ["No Error 10.0.0.1", "No Error 10.0.0.1", "Server Failure"]
    );
}

#[tokio::test]
async fn servers_outside() {
    use Outside::*;
    const NXDOMAIN: Outside = Fails(ResponseCode::NXDomain);
    const SERVFAIL: Outside = Fails(ResponseCode::ServFail);
    const REFUSED: Outside = Fails(ResponseCode::Refused);
    let prompt = [
        (&[Answers(1), Answers(2)][..], "No Error 192.0.2.1", "No Error 192.0.2.1"),
        (&[NXDOMAIN, Answers(2)], "Non-Existent Domain", "Non-Existent Domain"),
        (&[SERVFAIL, Answers(2)], "No Error 192.0.2.2", "No Error 192.0.2.2"),
        (&[REFUSED, Answers(2)], "No Error 192.0.2.2", "No Error 192.0.2.2"),
        (&[SERVFAIL, REFUSED], "Query Refused", "Query Refused"),
        (&[REFUSED, Closed], "Query Refused", "Query Refused"),
        (&[Closed, Answers(2)], "No Error 192.0.2.2", "No Error 192.0.2.2"),
        (&[Truncates(1)], "No Error truncated", "No Error 192.0.2.1"),
        // A stream has no spoofers, so a lie by TCP ends with that server.
        (&[LiesFirst(1), Answers(2)], "No Error 192.0.2.1", "No Error 192.0.2.2"),
        (&[], "Server Failure", "Server Failure"),
    ];
    answered(DEADLINE, &prompt).await;
    // One is given up here, and the next must still be in time.
    let slow = [
        (&[Silent, Answers(2)][..], "No Error 192.0.2.2", "No Error 192.0.2.2"),
        (&[Silent, Closed], "Server Failure", "Server Failure"),
        (&[Lies, Answers(2)], "No Error 192.0.2.2", "No Error 192.0.2.2"),
    ];
    answered(Duration::from_secs(5), &slow).await;
}

/// Servers outside, and what is answered by UDP and by TCP when they are asked with so much patience for each.
async fn answered(server_patience: Duration, cases: &[(&'static [Outside], &'static str, &'static str)]) {
    let mut server = server(Limits { server_patience, ..Limits::default() });
    let mut asked = tokio::task::JoinSet::new();
    for (n, &(kinds, by_udp, by_tcp)) in (0..).zip(cases) {
        let mut upstream = Vec::new();
        for &kind in kinds {
            upstream.push(outside(kind).await);
        }
        let address = serve(&mut server, sandbox(n), &upstream);
        asked.spawn(async move {
            let (udp, tcp) = tokio::join!(ask_udp(address, "ExAmple.org"), ask_tcp(address, &["example.org"]));
            assert_eq!((udp.as_str(), tcp[0].as_str()), (by_udp, by_tcp), "{kinds:?} by UDP and by TCP");
        });
    }
    asked.join_all().await;
}

#[tokio::test]
async fn tables_are_swapped_while_serving() {
    let mut server = server(Limits::default());
    let (one, two) = (serve(&mut server, sandbox(1), &[]), serve(&mut server, sandbox(2), &[]));
    server.set_names(&network(), names("10.0.0.2"));
    assert_eq!(ask_udp(one, "web").await, "No Error 10.0.0.2");
    assert_eq!(ask_udp(two, "web").await, "No Error 10.0.0.2");

    let outside = outside(Outside::Answers(1)).await;
    let bare = DnsView {
        forward: Forward::Upstream(vec![Upstream { address: outside, by: Way::Host }]),
        ..DnsView::default()
    };
    server.update(&sandbox(1), Arc::new(bare));
    assert_eq!(ask_udp(one, "web").await, "No Error 192.0.2.1", "the network is not its own any more");
    assert_eq!(ask_udp(two, "web").await, "No Error 10.0.0.2");

    server.forget_names(&network());
    assert_eq!(ask_udp(two, "web").await, "Server Failure");
    assert!(server.names(&network()).is_none());
}

#[tokio::test]
async fn stopping_and_dropping_free_the_sockets() {
    let mut server = server(Limits { server_patience: DEADLINE, ..Limits::default() });
    let silent = outside(Outside::Silent).await;
    let (one, two) = (serve(&mut server, sandbox(1), &[silent]), serve(&mut server, sandbox(2), &[silent]));
    for address in [one, two] {
        // A query that waits and a client that is connected are no reason to stay.
        let waiting = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        waiting.send_to(&query("example.org", 1).to_vec().unwrap(), address).await.unwrap();
        ask_tcp(address, &["web"]).await;
    }
    assert_eq!(server.sandboxes().count(), 2);
    server.stop(&sandbox(1));
    freed(one).await;
    assert_eq!(ask_udp(two, "web").await, "No Error 10.0.0.1");
    drop(server);
    freed(two).await;
}

async fn freed(address: SocketAddr) {
    let until = Instant::now() + DEADLINE;
    while UdpSocket::bind(address).is_err() || TcpListener::bind(address).is_err() {
        assert!(Instant::now() < until, "{address} is still held");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn waiting_queries_are_bounded() {
    let limits = Limits { forwards_per_sandbox: 1, server_patience: DEADLINE, ..Limits::default() };
    let mut server = server(limits);
    let (outside, _tcp, silent) = sockets();
    let one = serve(&mut server, sandbox(1), &[silent]);
    let waiting = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    waiting.send_to(&query("slow.example", 1).to_vec().unwrap(), one).await.unwrap();
    // The first query holds the only place once it has reached the server outside.
    tokio::task::spawn_blocking(move || outside.recv(&mut [0; 512]).map(|_| outside)).await.unwrap().unwrap();
    assert_eq!(ask_udp(one, "example.org").await, "Server Failure");
    assert_eq!(ask_udp(one, "web").await, "No Error 10.0.0.1", "own names go on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sandboxes_and_many_queries() {
    let mut server = server(Limits::default());
    let outside = outside(Outside::Answers(1)).await;
    let sandboxes: Vec<_> = (0..100).map(|n| serve(&mut server, sandbox(n), &[outside])).collect();
    let mut clients = tokio::task::JoinSet::new();
    for address in sandboxes {
        clients.spawn(async move {
            for _ in 0..20 {
                assert_eq!(ask_udp(address, "web").await, "No Error 10.0.0.1");
            }
            assert_eq!(ask_udp(address, "example.org").await, "No Error 192.0.2.1");
            assert_eq!(ask_tcp(address, &["web"]).await, ["No Error 10.0.0.1"]);
        });
    }
    clients.join_all().await;
}
