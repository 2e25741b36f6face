//! What endpoints see of requests, and clients of answers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use proxy::http::{
    host::Host,
    proxy_protocol::Version,
    table::{Backend, Path, Protocol, Routes, Table},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::support::*;

#[tokio::test]
async fn the_endpoint_sees_the_request_and_who_asked() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    let request = "GET http://Shop.local:81/a/../b?c=d HTTP/1.1\r\nhost: other\r\nX-Forwarded-For: 10.0.0.1\r\n\
        X-Forwarded-For: 10.0.0.2\r\nforwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\nconnection: close, x-mine\r\nx-mine: 1\r\n\
        keep-alive: 5\r\nte: trailers\r\nproxy-connection: x\r\nupgrade: h2c\r\ncookie: a=1\r\ncookie: b=2\r\n\r\n";
    let answer = raw(front.http, request, None).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(!head.contains("x-hop") && head.contains("connection: close"), "{head}");
    let expected = format!(
        "a GET /b?c=d HTTP/1.1\ncookie: a=1; b=2\nhost: Shop.local:81\nx-forwarded-for: 10.0.0.1, 10.0.0.2, 127.0.0.1\n\
        x-forwarded-host: Shop.local:81\nx-forwarded-port: {}\nx-forwarded-proto: http\nx-real-ip: 127.0.0.1\n",
        front.http.port()
    );
    assert_eq!(body, expected);
}

#[tokio::test]
async fn requests_go_where_the_table_says() {
    let (a, b) = (Endpoint::start("a", Protocol::Http1).await, Endpoint::start("b", Protocol::Http1).await);
    let mut table = Table::default();
    let rules = [
        (Path::Prefix("/".into()), Arc::new(backend(&[a.address]))),
        (Path::Prefix("/b".into()), Arc::new(backend(&[b.address]))),
        (Path::Prefix("/none".into()), Arc::new(backend(&[]))),
    ];
    table.routes.set(&Host::parse("shop.local").expect("a host"), Some(Arc::new(Routes::new(rules, None))));
    let front = Front::start(table);
    for (host, path, expected) in [
        ("shop.local", "/", "a GET /"),
        ("SHOP.local:8080", "/x", "a GET /x"),
        ("shop.local", "/b/x", "b GET /b/x"),
        ("shop.local", "/x/../b", "b GET /b"),
        ("shop.local", "/%62", "b GET /%62"),
        ("shop.local", "/bb", "a GET /bb"),
        ("other.local", "/", "404 Not Found: no rule is for this host and path\n"),
        ("shop.local", "/none", "503 Service Unavailable: the service behind this gateway has nobody to answer now\n"),
        ("shop.local", "/../b", "400 Bad Request: the path leads above the root\n"),
    ] {
        let answer = get(front.http, host, path).await;
        let body = answer.split_once("\r\n\r\n").expect("an answer").1;
        assert!(body.starts_with(expected), "{host}{path}: {answer}");
    }
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    for n in 0..50 {
        let body = "x".repeat(n);
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: {n}\r\n\r\n{body}");
        client.write_all(request.as_bytes()).await.expect("written");
        let answer = read_until(&mut client, Some(&format!("\r\n\r\n{body}"))).await;
        assert!(answer.contains(&format!("content-length: {n}\r\n")), "{answer}");
    }
    assert_eq!(endpoint.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert_eq!(endpoint.requests(), 50);
}

#[tokio::test]
async fn bodies_are_streamed_both_ways() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    let answer = get(front.http, "a", "/many").await;
    assert_eq!(answer.matches('x').count(), 256 * 65536);
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    let head = "POST /count HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.expect("written");
    assert!(read_until(&mut client, Some("\r\n\r\n")).await.starts_with("HTTP/1.1 100"));
    for _ in 0..100 {
        client.write_all(format!("10000\r\n{}\r\n", "y".repeat(65536)).as_bytes()).await.expect("written");
    }
    client.write_all(b"0\r\n\r\n").await.expect("written");
    assert!(read_until(&mut client, None).await.ends_with(&(100 * 65536).to_string()));
}

#[tokio::test]
async fn a_connection_that_is_upgraded_carries_any_octets() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::start(all_to(backend(&[endpoint.address])));
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    let request = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    client.write_all(request.as_bytes()).await.expect("written");
    let head = read_until(&mut client, Some("\r\n\r\n")).await.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
    let octets: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut read, mut write) = client.split();
    let sent = octets.clone();
    let writing = async {
        write.write_all(&sent).await.expect("written");
        write.shutdown().await.expect("closed");
    };
    let mut back = Vec::new();
    let reading = async { read.read_to_end(&mut back).await.expect("read") };
    tokio::join!(writing, reading);
    assert!(back == octets, "{} octets", back.len());
    eventually(|| front.metric("tunnels") == 0 && front.metric("connections") == 0).await;
}

#[tokio::test]
async fn endpoints_that_do_not_accept_are_passed_over() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    // Taken and given back: nobody listens there.
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let front = Front::start(all_to(backend(&[dead, endpoint.address])));
    for _ in 0..20 {
        let answer =
            raw(front.http, "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi", None)
                .await;
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
    front.table.store(Arc::new(all_to(backend(&[dead]))));
    let answer = get(front.http, "a", "/").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

/// Accepts and gives each connection, with its number, to a task.
async fn listen<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(usize, TcpStream) -> F + Send + 'static,
) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let task = tokio::spawn(async move {
        for number in 0.. {
            let Ok((stream, _)) = listener.accept().await else { return };
            tokio::spawn(serve(number, stream));
        }
    });
    (address, task)
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Answers one request, and closes without a word when the second has come: what keeps happening to kept connections.
async fn one_answer(_: usize, mut stream: TcpStream) {
    if read_head(&mut stream).await.is_some() {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let _ = read_head(&mut stream).await;
    }
}

#[tokio::test]
async fn what_may_be_done_twice_is_tried_again_on_a_kept_connection_that_closed() {
    let (address, task) = listen(one_answer).await;
    let front = Front::with(all_to(backend(&[address])), |settings| settings.threads = 1);
    for n in 0..6 {
        let answer = get(front.http, "a", "/").await;
        assert!(answer.ends_with("\r\n\r\nok"), "{n}: {answer}");
    }
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let first = raw(front.http, post, None).await;
    let second = raw(front.http, post, None).await;
    let statuses = [&first[9..12], &second[9..12]];
    assert!(statuses.contains(&"502"), "a POST may have been done, so it is not done again: {statuses:?}");
    task.abort();
}

#[tokio::test]
async fn what_may_be_done_twice_is_asked_of_another_when_one_closes_a_new_connection() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let (closing, task) = listen(|_, mut stream| async move { drop(read_head(&mut stream).await) }).await;
    let front = Front::with(all_to(backend(&[closing, endpoint.address])), |settings| settings.threads = 1);
    for _ in 0..6 {
        let answer = get(front.http, "a", "/").await;
        assert!(answer.contains("\r\n\r\na GET /"), "{answer}");
    }
    let post = "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let statuses = [raw(front.http, post, None).await, raw(front.http, post, None).await].map(|a| a[9..12].to_owned());
    assert!(statuses.contains(&"502".to_owned()), "a POST may have been done, so it is not done again: {statuses:?}");
    task.abort();
}

#[tokio::test]
async fn an_endpoint_that_does_not_answer_or_not_in_http() {
    let (silent, one) = listen(|_, mut stream| async move {
        read_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let (nonsense, two) = listen(|_, mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"SSH-2.0-nonsense\r\n").await;
    })
    .await;
    let (closing, three) = listen(|_, mut stream| async move { drop(read_head(&mut stream).await) }).await;
    for (address, status) in [(silent, "504"), (nonsense, "502"), (closing, "502")] {
        let front = Front::with(all_to(backend(&[address])), |settings| {
            settings.limits.response_patience = Duration::from_millis(100);
        });
        let answer = get(front.http, "a", "/").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    for task in [one, two, three] {
        task.abort();
    }
}

#[tokio::test]
async fn the_proxy_protocol_is_taken_from_who_is_trusted_alone_and_sent_when_asked() {
    let (told, seen) = tokio::sync::mpsc::unbounded_channel();
    let (address, task) = listen(move |_, mut stream| {
        let told = told.clone();
        async move {
            let head = read_head(&mut stream).await.unwrap_or_default();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = told.send(head);
        }
    })
    .await;
    let mut seen = seen;
    let to = || all_to(Backend { send_proxy: Some(Version::V1), ..backend(&[address]) });
    let trusting =
        Front::with(to(), |settings| settings.proxy_protocol_from = vec!["127.0.0.0/8".parse().expect("a net")]);
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let v1 = format!("PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n{request}");
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc0\0\x02\x08\x04\xd2\x01\xbb", request.as_bytes()]
        .concat();
    for octets in [v1.clone().into_bytes(), v2] {
        assert!(raw(trusting.http, octets, None).await.starts_with("HTTP/1.1 200"));
        let head = seen.recv().await.expect("a request");
        assert!(head.starts_with("PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\nGET / HTTP/1.1\r\n"), "{head}");
        assert!(
            head.contains("x-forwarded-for: 192.0.2.7\r\n") && head.contains("x-forwarded-port: 443\r\n"),
            "{head}"
        );
    }
    assert_eq!(
        raw(trusting.http, request, None).await,
        "",
        "who must say who it speaks for, and does not, gets nothing"
    );
    let other = Front::start(to());
    assert!(raw(other.http, v1, None).await.starts_with("HTTP/1.1 400"), "and who must not is not believed");
    task.abort();
}
