//! The listeners behind real nftables redirects, in a network namespace of their own: clients ask for ports of one family and
//! reach a server of the other, and see the answers come from where they asked.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::port::{PortRange, Protocol};
use plan::listener::{Clients, Forwarding, ListenerTable};
use proxy::listener::{tcp, udp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Long enough for a busy machine; a test that meets it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "PROXY_TEST_INSIDE";

const RULES: &str = "
table ip6 t {
    chain out {
        type nat hook output priority -100
        meta l4proto { tcp, udp } th dport 8000-8010 redirect to :41999
    }
}
table ip t {
    chain out {
        type nat hook output priority -100
        meta l4proto { tcp, udp } th dport 7000-7001 redirect to :41999
    }
}
";

#[test]
fn clients_see_what_they_asked_for() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    for (program, arguments) in [("unshare", &["-n", "true"][..]), ("nft", &["--version"]), ("ip", &["-V"])] {
        let output = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !output.is_ok_and(|status| status.success()) {
            eprintln!(
                "SKIPPED: `{program} {}` does not work here (root, nftables and iproute2 are needed)",
                arguments.join(" ")
            );
            return;
        }
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .arg("-n")
        .arg(this)
        .args(["--exact", "clients_see_what_they_asked_for", "--nocapture"])
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success());
}

fn inside() {
    run("ip link set lo up", "");
    run("ip addr add fd00::1/128 dev lo nodad", "");
    run("nft -f -", RULES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (bound, asked, inside) in [
            ("[::]:41999", "[::1]:8003", "127.0.0.1:20003"),
            ("[::]:41999", "[fd00::1]:8010", "127.0.0.1:20010"),
            ("0.0.0.0:41999", "127.0.0.1:7001", "[::1]:20001"),
            ("0.0.0.0:41999", "127.0.0.9:7000", "[::1]:20000"),
        ] {
            let [bound, asked, inside] = [bound, asked, inside].map(|address| address.parse().unwrap());
            tcp_case(bound, asked, inside).await;
            udp_case(bound, asked, inside).await;
        }
    });
}

fn run(command: &str, input: &str) {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().unwrap()).args(words).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{command}");
}

/// All published ports of the protocol, as a table with ranges.
fn table(protocol: Protocol) -> Arc<ArcSwap<ListenerTable>> {
    let forwarding = |address: &str, first, last, target: &str| Forwarding {
        protocol,
        address: address.parse().unwrap(),
        ports: PortRange { first, last },
        target: target.parse().unwrap(),
        clients: Clients::All,
    };
    let table = [forwarding("::", 8000, 8010, "127.0.0.1:20000"), forwarding("0.0.0.0", 7000, 7001, "[::1]:20000")];
    Arc::new(ArcSwap::from_pointee(ListenerTable::from_iter(table)))
}

async fn tcp_case(bound: SocketAddr, asked: SocketAddr, inside: SocketAddr) {
    let listener = std::net::TcpListener::bind(bound).unwrap();
    let _listening = tcp::serve(listener, table(Protocol::Tcp), tcp::Limits::default()).unwrap();
    let server = tokio::net::TcpListener::bind(inside).await.unwrap();
    let mut client = tokio::net::TcpStream::connect(asked).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), asked);
    let (mut accepted, _) = timeout(DEADLINE, server.accept()).await.expect("led to the server").unwrap();
    accepted.write_all(b"hello").await.unwrap();
    let mut text = [0; 5];
    timeout(DEADLINE, client.read_exact(&mut text)).await.expect("an answer in time").unwrap();
    assert_eq!(&text, b"hello");
}

async fn udp_case(bound: SocketAddr, asked: SocketAddr, inside: SocketAddr) {
    let socket = std::net::UdpSocket::bind(bound).unwrap();
    let original = move |_, _| Some(asked);
    let _listening = udp::serve(socket, table(Protocol::Udp), original, udp::Limits::default()).unwrap();
    let server = tokio::net::UdpSocket::bind(inside).await.unwrap();
    let any = if asked.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let client = tokio::net::UdpSocket::bind(any).await.unwrap();
    client.connect(asked).await.unwrap();
    for text in [b"first", b"again"] {
        let mut buffer = [0; 16];
        client.send(text).await.unwrap();
        let (length, flow) =
            timeout(DEADLINE, server.recv_from(&mut buffer)).await.expect("led to the server").unwrap();
        server.send_to(&buffer[..length], flow).await.unwrap();
        // Connected, so only what comes from the address that was asked for arrives.
        let length = timeout(DEADLINE, client.recv(&mut buffer)).await.expect("an answer in time").unwrap();
        assert_eq!(&buffer[..length], text);
    }
}
