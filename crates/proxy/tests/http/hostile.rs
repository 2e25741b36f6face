//! Clients that break HTTP, are slow, or want too much.

use std::{net::SocketAddr, time::Duration};

use proxy::http::{Settings, table::Protocol};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::support::*;

fn impatient(settings: &mut Settings) {
    settings.limits.header_patience = Duration::from_millis(200);
    settings.limits.idle_patience = Duration::from_millis(400);
    settings.limits.body_patience = Duration::from_millis(300);
}

/// Writes a request, and compares the status line; the endpoint must not have seen more than `reached` requests.
async fn check(front: &Front, request: &str, status: &str) {
    let answer = raw(front.http, request, None).await;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer:?}");
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_reaches_nobody() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    for request in [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
        "GET http://user@a/ HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /% HTTP/1.1\r\nhost: a\r\n\r\n",
        "CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n",
        // Framing that two servers could read in two ways (RFC 9112, 6.3 and 11.2).
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxy",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1, 2\r\n\r\nxy",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        check(&front, request, "400").await;
    }
    assert_eq!(endpoint.requests(), 0);
}

/// RFC 9112, 6.1: Transfer-Encoding counts. What would be a second request for who believes the length is not one here, nor behind us.
#[tokio::test]
async fn a_request_with_both_framings_is_one_request() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
        0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    check(&front, request, "200").await;
    let request = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nfffffffffffffffff\r\nx";
    check(&front, request, "400").await;
    assert!(endpoint.requests() <= 2, "{}", endpoint.requests());
}

/// Behind a tunnel of HTTP/2 a client would ask for what rules keep from it. It is a plain request instead, which RFC 9110, 7.8 allows.
#[tokio::test]
async fn no_tunnel_of_http2_leads_past_the_rules() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    for upgrade in [
        "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c",
        "connection: Upgrade\r\nupgrade: h2c",
        "connection: Upgrade\r\nupgrade: websocket, H2C",
        "connection: Upgrade\r\nupgrade: websocket\r\nupgrade: h2c",
    ] {
        let request = format!("GET /seen HTTP/1.1\r\nhost: a\r\n{upgrade}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n");
        let answer = raw(front.http, request, Some("x-real-ip: 127.0.0.1\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{upgrade}: {answer}");
        let seen = answer.split_once("\r\n\r\n").expect("a body").1;
        assert!(!seen.contains("upgrade") && !seen.contains("http2-settings"), "{upgrade}: {seen}");
    }
}

#[tokio::test]
async fn headers_and_bodies_have_their_limits() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), |settings| settings.limits.body_octets = Some(1000));
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    check(&front, &format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n"), "431").await;
    let long = "x".repeat(40 * 1024);
    check(&front, &format!("GET / HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"), "431").await;
    check(&front, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n", "413").await;
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    check(
        &front,
        &format!("POST /count HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"),
        "413",
    )
    .await;
    let body = "x".repeat(1000);
    let good = format!("POST /count HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{body}");
    assert!(raw(front.http, good, None).await.ends_with("\r\n\r\n1000"));
}

/// Sends an octet at a time for as long as it can.
async fn drip(address: SocketAddr, begin: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(begin.as_bytes()).await.expect("written");
    let (mut read, mut write) = stream.into_split();
    let dripping = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = read_until(&mut read, None).await;
    dripping.abort();
    answer
}

#[tokio::test]
async fn slow_clients_are_told_so_and_leave() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), impatient);
    // Whether its last octets cross the answer on the way is chance, and then TCP takes the answer back.
    let answer = drip(front.http, "GET / HTTP/1.1\r\nx: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = raw(front.http, "GET / HTTP/1.1\r\nx: ", None).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.ends_with("in time\n"), "{answer}");
    assert_eq!(raw(front.http, "", None).await, "", "who says nothing is told nothing");
    let answer = raw(front.http, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nx", None).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    // An idle connection after an answer.
    let answer = raw(front.http, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", None).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // TLS that does not begin.
    assert_eq!(raw(front.https, "\x16\x03\x01", None).await, "");
    eventually(|| front.metric("connections") == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_leaves() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), impatient);
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    client.write_all(b"GET /many HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    eventually(|| front.metric("slow_clients_total") == 1 && front.metric("connections") == 0).await;
    drop(client);
}

#[tokio::test]
async fn more_clients_than_places_wait_for_one() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), |settings| {
        settings.threads = 1;
        settings.limits.connections = 2;
    });
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(front.http).await.expect("connects");
        client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
        read_until(&mut client, Some("x-real-ip: 127.0.0.1\n")).await;
        holders.push(client);
    }
    let waiting = tokio::spawn(get(front.http, "a", "/"));
    assert_eq!(front.metric("connections"), 2);
    holders.pop();
    assert!(waiting.await.expect("an answer").starts_with("HTTP/1.1 200"));
}
