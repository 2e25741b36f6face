//! Nothing is lost: while the table changes, while endpoints leave, while the gateway itself leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use proxy::http::table::Protocol;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use super::support::*;

const CLIENTS: usize = 20;
const REQUESTS: usize = 500;

/// Sends requests, on one connection or on new ones, and returns how many were answered well.
async fn client(address: std::net::SocketAddr, keep: bool) -> usize {
    let mut good = 0;
    let mut kept = None;
    for n in 0..REQUESTS {
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => TcpStream::connect(address).await.expect("connects"),
        };
        let close = if keep { "" } else { "connection: close\r\n" };
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{close}content-length: 6\r\n\r\n<{n:04}>");
        stream.write_all(request.as_bytes()).await.expect("written");
        let answer = read_until(&mut stream, Some(&format!("<{n:04}>"))).await;
        good += usize::from(answer.starts_with("HTTP/1.1 200"));
        if keep && !answer.contains("connection: close") {
            kept = Some(stream);
        }
    }
    good
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_while_the_table_changes_all_the_time() {
    let mut endpoints = Vec::new();
    for name in ["a", "b", "c"] {
        endpoints.push(Endpoint::start(name, Protocol::Http1).await);
    }
    let front = Front::start(all_to(backend(&[endpoints[0].address])));
    let done = Arc::new(AtomicBool::new(false));
    let changing = tokio::spawn({
        let (done, table) = (done.clone(), front.table.clone());
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        async move {
            let mut changes = 0_usize;
            while !done.load(Ordering::Relaxed) {
                let some: Vec<_> = addresses.iter().copied().cycle().skip(changes).take(1 + changes % 3).collect();
                table.store(Arc::new(all_to(backend(&some))));
                changes += 1;
                tokio::task::yield_now().await;
            }
            changes
        }
    });
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(client(front.http, n % 2 == 0));
    }
    let good: usize = clients.join_all().await.into_iter().sum();
    done.store(true, Ordering::Relaxed);
    let changes = changing.await.expect("changed");
    assert_eq!(good, CLIENTS * REQUESTS);
    assert!(changes > 100 && endpoints.iter().all(|endpoint| endpoint.requests() > 0), "{changes} changes");
}

#[tokio::test]
async fn an_endpoint_that_leaves_gets_nothing_new_and_ends_what_it_has() {
    let (a, b) = (Endpoint::start("a", Protocol::Http1).await, Endpoint::start("b", Protocol::Http1).await);
    let front = Front::start(all_to(backend(&[a.address])));
    let mut under_way = TcpStream::connect(front.http).await.expect("connects");
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab";
    under_way.write_all(head.as_bytes()).await.expect("written");
    eventually(|| a.requests() == 1).await;
    front.table.store(Arc::new(all_to(backend(&[b.address]))));
    for _ in 0..20 {
        assert!(get(front.http, "a", "/").await.contains("\r\n\r\nb GET /"));
    }
    under_way.write_all(b"cd").await.expect("written");
    let answer = read_until(&mut under_way, Some("abcd")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(a.requests(), 1);
    front.table.store(Arc::new(all_to(backend(&[]))));
    under_way.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    let answer = read_until(&mut under_way, Some("answer now\n")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn who_is_replaced_while_it_is_asked_is_not_missed() {
    let new = Endpoint::start("new", Protocol::Http1).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let front = Front::start(all_to(backend(&[listener.local_addr().expect("an address")])));
    let (table, to) = (front.table.clone(), backend(&[new.address]));
    let old = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a request");
        read_until(&mut stream, Some("\r\n\r\n")).await;
        table.store(Arc::new(all_to(to)));
    });
    let answer = get(front.http, "a", "/").await;
    assert!(answer.contains("\r\n\r\nnew GET /"), "{answer}");
    old.await.expect("asked once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_leaves_without_losing_what_is_under_way() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let mut front = Front::start(all_to(backend(&[endpoint.address])));
    let mut under_way = TcpStream::connect(front.http).await.expect("connects");
    under_way.write_all(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab").await.expect("written");
    let mut idle = TcpStream::connect(front.http).await.expect("connects");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    let answer = read_until(&mut idle, Some("x-real-ip")).await;
    assert!(!answer.contains("connection: close"), "{answer}");
    eventually(|| endpoint.requests() == 2).await;
    let gateway = front.gateway.take().expect("running");
    let metrics = gateway.metrics();
    let open = move || metrics.text().contains("linkspan_gateway_connections 1\n");
    let draining = tokio::spawn(gateway.drain(Duration::from_millis(200), DEADLINE));
    // Still served, and asked not to come back on this one. The answer may be from before the drain has begun, so again.
    while !get_kept(front.http).await.contains("connection: close") {}
    assert_eq!(
        read_until(&mut idle, None).await.matches("HTTP/1.1").count(),
        0,
        "closed, without an answer to nothing"
    );
    eventually(open).await;
    eventually(|| std::net::TcpStream::connect(front.http).is_err()).await;
    under_way.write_all(b"cd").await.expect("written");
    let answer = read_until(&mut under_way, None).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("abcd"), "{answer}");
    tokio::time::timeout(DEADLINE, draining).await.expect("ends in time").expect("ends");
}

async fn get_kept(address: std::net::SocketAddr) -> String {
    raw(address, "GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some("x-real-ip")).await
}
