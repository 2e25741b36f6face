//! A gateway, endpoints that say what they saw, and a client that writes what it likes.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header::HeaderValue,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::http::{
    Gateway, Limits, Listeners, Settings,
    host::Host,
    table::{Backend, Path, Protocol, Routes, Table},
};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

/// Longer than anything takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A gateway on ports of its own.
pub struct Front {
    pub gateway: Option<Gateway>,
    pub table: Arc<ArcSwap<Table>>,
    pub http: SocketAddr,
    pub https: SocketAddr,
}

impl Front {
    pub fn start(table: Table) -> Self {
        Self::with(table, |_| {})
    }

    pub fn with(table: Table, change: impl FnOnce(&mut Settings)) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (http, https) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let (http_address, https_address) = (address(&http), address(&https));
        let table = Arc::new(ArcSwap::from_pointee(table));
        let mut settings =
            Settings { proxy_protocol_from: Vec::new(), access_log: false, threads: 2, limits: Limits::default() };
        change(&mut settings);
        let gateway = Gateway::start(Listeners { http: vec![http], https: vec![https] }, &table, settings);
        Self { gateway: Some(gateway.expect("starts")), table, http: http_address, https: https_address }
    }

    pub fn metric(&self, name: &str) -> i64 {
        let text = self.gateway.as_ref().expect("running").metrics().text();
        let line = text.lines().find(|line| line.starts_with(&format!("linkspan_gateway_{name} ")));
        let value = line.and_then(|line| line.rsplit_once(' ')).expect("a metric").1;
        value.parse().expect("a number")
    }
}

/// Everything goes to one backend.
pub fn all_to(backend: Backend) -> Table {
    let rules = [(Path::Prefix("/".into()), Arc::new(backend))];
    let mut table = Table::default();
    table.routes.set(&Host::Any, Some(Arc::new(Routes::new(rules, None))));
    table
}

pub fn backend(endpoints: &[SocketAddr]) -> Backend {
    Backend { name: "test/web:80".into(), endpoints: endpoints.to_vec(), ..Backend::default() }
}

/// An endpoint; dropping it ends it with its connections.
pub struct Endpoint {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Endpoint {
    pub async fn start(name: &'static str, protocol: Protocol) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (requests, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counted = (requests.clone(), connections.clone());
        let tls = protocol.has_tls().then(|| acceptor(if protocol.is_http2() { "h2" } else { "http/1.1" }));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                counted.1.fetch_add(1, Ordering::SeqCst);
                let requests = counted.0.clone();
                let service = service_fn(move |request| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    async move { Ok::<_, Infallible>(answer(name, request).await) }
                });
                let tls = tls.clone();
                served.spawn(async move {
                    let stream: Box<dyn Octets> = match tls {
                        None => Box::new(stream),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => Box::new(stream),
                            Err(_) => return,
                        },
                    };
                    let io = TokioIo::new(stream);
                    let _ = match protocol.is_http2() {
                        false => http1::Builder::new().serve_connection(io, service).with_upgrades().await,
                        true => http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await,
                    };
                });
            }
        });
        Self { address, requests, connections, _tasks: tasks }
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A connection, in TLS or not.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Octets for S {}

/// TLS with a certificate that nobody has a reason to trust.
fn acceptor(alpn: &str) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(["nobody.invalid".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.expect("a pair");
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

type Body = BoxBody<Bytes, Infallible>;

fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// By its path: what was seen, its body, many octets, trailers, a tunnel, or nothing for ever.
async fn answer(name: &str, mut request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/hang" => std::future::pending().await,
        "/echo" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            Response::new(text(body))
        }
        "/count" => {
            let mut octets = 0;
            while let Some(Ok(frame)) = request.body_mut().frame().await {
                octets += frame.data_ref().map_or(0, Bytes::len);
            }
            Response::new(text(octets.to_string()))
        }
        "/many" => {
            let frames = (0..256).map(|_| Ok(Frame::data(Bytes::from_static(&[b'x'; 65536]))));
            Response::new(StreamBody::new(futures(frames)).boxed())
        }
        "/trailers" => {
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let status = [("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))];
            let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(status.into_iter().collect()))];
            let mut response = Response::new(StreamBody::new(futures(frames.into_iter())).boxed());
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response
        }
        "/upgrade" => {
            let protocol = request.headers().get("upgrade").cloned().expect("an upgrade");
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.expect("upgraded");
                let (mut read, mut write) = split(TokioIo::new(upgraded));
                let _ = copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
            let mut response = Response::new(text(""));
            *response.status_mut() = hyper::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert("upgrade", protocol);
            response
        }
        _ => {
            let mut response = Response::new(text(describe(name, &request)));
            response.headers_mut().insert("connection", HeaderValue::from_static("x-hop"));
            response.headers_mut().insert("x-hop", HeaderValue::from_static("1"));
            response
        }
    }
}

/// A stream of frames that are there.
fn futures<T>(frames: impl Iterator<Item = T>) -> impl futures_util::Stream<Item = T> {
    futures_util::stream::iter(frames)
}

/// What an endpoint saw: a line for the request, one for each field in order.
fn describe(name: &str, request: &Request<Incoming>) -> String {
    let mut fields: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    fields.sort();
    format!("{name} {} {} {:?}\n{}", request.method(), request.uri(), request.version(), fields.concat())
}

/// Writes octets and reads until the other side has closed, or has said `until`.
pub async fn raw(address: SocketAddr, octets: impl AsRef<[u8]>, until: Option<&str>) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    stream.write_all(octets.as_ref()).await.expect("written");
    read_until(&mut stream, until).await
}

pub async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), until: Option<&str>) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 16384];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&buffer[..length]),
            }
            if until.is_some_and(|until| read.windows(until.len()).any(|window| window == until.as_bytes())) {
                return;
            }
        }
    };
    let in_time = timeout(DEADLINE, reading).await.is_ok();
    let text = String::from_utf8_lossy(&read).into_owned();
    assert!(in_time, "no end of {text:?}");
    text
}

/// One request on a connection of its own.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"), None).await
}

/// Until it holds.
pub async fn eventually(mut holds: impl FnMut() -> bool) {
    let looking = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, looking).await.expect("holds in time");
}
