//! TLS by name, HTTP/2 on either side, trailers.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Version, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::http::{
    certificate::Certificate,
    host::Host,
    table::{Backend, Protocol, Table},
};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::*;

type Sender = http2::SendRequest<Full<Bytes>>;

async fn http2(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) -> Sender {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await.expect("HTTP/2 begins");
    tokio::spawn(connection);
    sender
}

fn post(uri: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(uri).header("te", "trailers").body(Full::new(body.into())).expect("a request")
}

#[tokio::test]
async fn http2_without_tls_from_end_to_end_with_trailers() {
    let endpoint = Endpoint::start("a", Protocol::H2c).await;
    let front =
        Front::with(all_to(Backend { protocol: Protocol::H2c, ..backend(&[endpoint.address]) }), |s| s.threads = 1);
    let mut sender = http2(TcpStream::connect(front.http).await.expect("connects")).await;
    for _ in 0..20 {
        let response = sender.send_request(post("http://grpc.local/trailers", "hello")).await.expect("an answer");
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
        assert_eq!(body.to_bytes(), "hello");
    }
    let response = sender.send_request(post("http://grpc.local/seen?x", "")).await.expect("an answer");
    let seen = response.into_body().collect().await.expect("a body").to_bytes();
    let seen = String::from_utf8_lossy(&seen);
    assert!(seen.starts_with("a POST http://grpc.local/seen?x HTTP/2.0\n"), "{seen}");
    assert!(seen.contains("te: trailers\n") && seen.contains("x-forwarded-host: grpc.local\n"), "{seen}");
    assert_eq!(endpoint.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "requests share it");
}

#[tokio::test]
async fn http2_to_an_endpoint_of_http1_and_the_other_way() {
    let (one, two) = (Endpoint::start("one", Protocol::Http1).await, Endpoint::start("two", Protocol::H2c).await);
    let front = Front::start(all_to(backend(&[one.address])));
    let mut sender = http2(TcpStream::connect(front.http).await.expect("connects")).await;
    let many = (0..50).map(|n| {
        let mut sender = sender.clone();
        async move {
            let response = sender.send_request(post("http://a/echo", n.to_string())).await.expect("an answer");
            assert_eq!(response.version(), Version::HTTP_2);
            assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), n.to_string());
        }
    });
    futures_util::future::join_all(many).await;
    let response = sender.send_request(post("http://a/seen", "")).await.expect("an answer");
    let seen = response.into_body().collect().await.expect("a body").to_bytes();
    let seen = String::from_utf8_lossy(&seen);
    assert!(
        seen.starts_with("one POST /seen HTTP/1.1\n") && seen.contains("\nhost: a\n") && !seen.contains("te: "),
        "{seen}"
    );
    front.table.store(Arc::new(all_to(Backend { protocol: Protocol::H2c, ..backend(&[two.address]) })));
    let answer = get(front.http, "b:1", "/seen").await;
    assert!(answer.contains("two GET http://b:1/seen HTTP/2.0\n"), "{answer}");
}

/// A certificate for names, for the gateway, and what trusts it.
fn certificate(names: &[&str]) -> (Arc<Certificate>, Arc<ClientConfig>) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let pem = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(Certificate::from_pem(pem.0.as_bytes(), pem.1.as_bytes()).expect("a pair")), Arc::new(config))
}

async fn connect(
    front: &Front,
    name: &str,
    trust: &Arc<ClientConfig>,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = (**trust).clone();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let tcp = TcpStream::connect(front.https).await.expect("connects");
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[tokio::test]
async fn certificates_are_found_by_name_and_change_without_harm() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let mut table = all_to(backend(&[endpoint.address]));
    let (shop, trusts_shop) = certificate(&["shop.local"]);
    let (wild, trusts_wild) = certificate(&["*.shop.local"]);
    let set = |table: &mut Table, host: &str, certificate: &Arc<Certificate>| {
        table.certificates.set(&Host::parse(host).expect("a host"), Some(certificate.clone()));
    };
    set(&mut table, "shop.local", &shop);
    set(&mut table, "*.shop.local", &wild);
    let front = Front::start(table.clone());
    let mut kept = connect(&front, "shop.local", &trusts_shop, &["http/1.1"]).await.expect("trusted");
    connect(&front, "a.shop.local", &trusts_wild, &[]).await.expect("trusted");
    connect(&front, "a.b.shop.local", &trusts_wild, &[]).await.expect_err("that is two labels");
    connect(&front, "other.local", &trusts_shop, &[]).await.expect_err("the self-made one is nobody's");
    // HTTP/2 by ALPN.
    let tls = connect(&front, "shop.local", &trusts_shop, &["h2", "http/1.1"]).await.expect("trusted");
    let mut sender = http2(tls).await;
    let response = sender.send_request(post("https://shop.local/seen", "")).await.expect("an answer");
    let seen = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(String::from_utf8_lossy(&seen).contains("x-forwarded-proto: https\n"));
    // Another certificate for new connections; what is there goes on.
    let (new, trusts_new) = certificate(&["shop.local"]);
    set(&mut table, "shop.local", &new);
    front.table.store(Arc::new(table));
    connect(&front, "shop.local", &trusts_new, &[]).await.expect("the new one");
    kept.write_all(b"GET / HTTP/1.1\r\nhost: shop.local\r\nconnection: close\r\n\r\n").await.expect("written");
    assert!(read_until(&mut kept, None).await.starts_with("HTTP/1.1 200"));
    sender.send_request(post("https://shop.local/", "")).await.expect("an answer");
}

#[tokio::test]
async fn endpoints_with_tls_are_asked_in_it() {
    let (one, two) = (Endpoint::start("one", Protocol::Https1).await, Endpoint::start("two", Protocol::H2).await);
    let front = Front::with(all_to(backend(&[])), |settings| settings.threads = 1);
    for (endpoint, protocol, expected) in [
        (&one, Protocol::Https1, "one GET /seen HTTP/1.1\nhost: shop.local\n"),
        (&two, Protocol::H2, "two GET https://shop.local/seen HTTP/2.0\n"),
    ] {
        front.table.store(Arc::new(all_to(Backend { protocol, ..backend(&[endpoint.address]) })));
        for _ in 0..3 {
            let answer = get(front.http, "shop.local", "/seen").await;
            assert!(answer.contains(expected) && answer.contains("x-forwarded-proto: http\n"), "{answer}");
        }
        assert_eq!(endpoint.connections.load(std::sync::atomic::Ordering::SeqCst), 1, "it is kept");
    }
    // WebSockets in TLS.
    front.table.store(Arc::new(all_to(Backend { protocol: Protocol::Https1, ..backend(&[one.address]) })));
    let request = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    client.write_all(request.as_bytes()).await.expect("written");
    assert!(read_until(&mut client, Some("\r\n\r\n")).await.starts_with("HTTP/1.1 101"));
    client.write_all(b"hello").await.expect("written");
    client.shutdown().await.expect("half is closed");
    assert_eq!(read_until(&mut client, None).await, "hello");
    // Who speaks something else is not asked.
    let plain = Endpoint::start("plain", Protocol::Http1).await;
    for (protocol, address) in
        [(Protocol::Https1, plain.address), (Protocol::H2, plain.address), (Protocol::H2, one.address)]
    {
        front.table.store(Arc::new(all_to(Backend { protocol, ..backend(&[address]) })));
        let answer = get(front.http, "a", "/seen").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{protocol:?}: {answer}");
    }
    assert_eq!(plain.requests(), 0);
}

/// CVE-2023-44487: streams that are opened only to be reset.
#[tokio::test]
async fn rapid_resets_end_the_connection_and_nobody_elses() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), |settings| settings.threads = 1);
    let mut client = TcpStream::connect(front.http).await.expect("connects");
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut attack = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    attack.extend(frame(4, 0, 0, &[]));
    for n in 0..5000 {
        // GET http / of "a", from HPACK's static table, and CANCEL.
        attack.extend(frame(1, 5, 2 * n + 1, &[0x82, 0x86, 0x84, 0x41, 1, b'a']));
        attack.extend(frame(3, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    // It may be cut off before it has written all.
    let _ = client.write_all(&attack).await;
    let told = read_until(&mut client, None).await;
    drop(told);
    eventually(|| front.metric("connections") == 0).await;
    assert!(endpoint.requests() < 2000, "{}", endpoint.requests());
    assert!(get(front.http, "a", "/").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_http2_connection_ends() {
    let endpoint = Endpoint::start("a", Protocol::Http1).await;
    let front = Front::with(all_to(backend(&[endpoint.address])), |settings| {
        settings.limits.header_patience = Duration::from_millis(100);
        settings.limits.idle_patience = Duration::from_millis(200);
    });
    let mut sender = http2(TcpStream::connect(front.http).await.expect("connects")).await;
    sender.send_request(post("http://a/", "")).await.expect("an answer").into_body().collect().await.expect("a body");
    eventually(|| front.metric("connections") == 0).await;
}
