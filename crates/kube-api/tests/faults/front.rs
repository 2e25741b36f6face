//! A server on loopback, in this process, and clients of it.

use std::{io::Write, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header::CONTENT_TYPE};
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use kube_api::{
    ApiServer, Opening,
    auth::{
        MASTERS,
        authority::{Authority, Pair},
    },
    controller::Started,
    settings::Settings,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use store::objects::{Objects, Options};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A server that ends with the test.
pub struct Front {
    pub address: SocketAddr,
    pub server: Arc<ApiServer>,
    pub objects: Objects,
    folder: tempfile::TempDir,
    _end: oneshot::Sender<()>,
    _served: JoinHandle<()>,
}

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    Http1,
    Http2,
}

/// One request at a time over one connection.
pub enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Front {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open_sqlite(&folder.path().join("kube.db"), Options::default()).await.unwrap();
        Self::over(objects, folder).await
    }

    /// Over objects that are there.
    pub async fn over(objects: Objects, folder: tempfile::TempDir) -> Self {
        Self::held(objects, folder, async {}).await
    }

    /// Whose controllers begin when `control` has ended.
    pub async fn held(
        objects: Objects,
        folder: tempfile::TempDir,
        control: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let server = Arc::new(ApiServer::open(opening(objects.clone(), folder.path())).await.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let serving = Arc::clone(&server);
        let served =
            tokio::spawn(async move { serving.serve(vec![listener], control, async { drop(ended.await) }).await });
        Self { address, server, objects, folder, _end: end, _served: served }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// TLS with the certificate of a cluster administrator.
    pub fn admin(&self, version: Version) -> ClientConfig {
        let pair = self.server.authority().client("admin", MASTERS, Timestamp::now()).unwrap();
        tls(self.server.authority(), Some(&pair), version)
    }

    /// TLS without a certificate.
    pub fn nobody(&self, version: Version) -> ClientConfig {
        tls(self.server.authority(), None, version)
    }

    pub async fn connect(&self, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        Self::greet(TcpStream::connect(self.address).await?, tls).await
    }

    /// A client for whom the kernel keeps next to nothing, so that what is not read is soon felt.
    pub async fn connect_with_little_room(&self, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        Self::greet(socket.connect(self.address).await?, tls).await
    }

    async fn greet(tcp: TcpStream, tls: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::new(tls)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// A watch by HTTP/1.1 of a client who asks together with the end of its greeting, and says nothing more.
    pub async fn watch_at_once(&self, path: &str) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.admin(Version::Http1)));
        let ask = format!("GET {path} HTTP/1.1\r\nHost: l\r\n\r\n");
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect_with(name, tcp, |tls| tls.writer().write_all(ask.as_bytes()).unwrap()).await.unwrap()
    }

    pub async fn sender(&self, tls: ClientConfig) -> Sender {
        let is_http2 = tls.alpn_protocols == [b"h2".to_vec()];
        let stream = TokioIo::new(self.connect(tls).await.unwrap());
        if is_http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            Sender::Http1(sender)
        }
    }

    /// What an administrator is answered, over a connection of its own. With HTTP/2, as kubectl speaks: who sends more than is read is
    /// still answered.
    pub async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let mut sender = self.sender(self.admin(Version::Http2)).await;
        answer(&mut sender, request(method, path, body)).await
    }

    /// Asks, and expects to be granted it.
    pub async fn must(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, said) = self.ask(method, path, body).await;
        assert!(matches!(status, 200..=201), "{method} {path}: {status} {said:.1000}");
        said
    }

    /// Others are served: somebody with a connection of their own is answered at once.
    pub async fn serves_others(&self) {
        let (status, _) = self.ask("GET", "/api/v1/namespaces/default", "").await;
        assert_eq!(status, 200);
    }
}

pub fn opening(objects: Objects, folder: &Path) -> Opening {
    let range = |text: &str| vec![text.parse().unwrap()];
    Opening {
        objects,
        pki: folder.join("pki"),
        settings: Settings {
            version: "0".to_owned(),
            advertised: ([10, 96, 0, 1].into(), 443),
            service_ranges: range("10.96.0.0/16"),
            node_ports: (30000, 32767),
            load_balancer_pools: Vec::new(),
            pod_ranges: range("10.244.0.0/16"),
            dns: None,
            domain: "cluster.local".to_owned(),
        },
        names: Default::default(),
        gateway: (Vec::new(), Started::ByOthers),
    }
}

/// TLS of a client who trusts this authority.
pub fn tls(authority: &Authority, own: Option<&Pair>, version: Version) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.certificate_pem().as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.certificate_pem.as_bytes()).map(Result::unwrap).collect();
            builder
                .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap())
                .unwrap()
        }
    };
    config.alpn_protocols = match version {
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    };
    config
}

pub fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let uri = format!("https://localhost{path}");
    Request::builder().method(method).uri(uri).header(CONTENT_TYPE, content).body(Full::new(body.into())).unwrap()
}

impl Sender {
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http2(sender) => sender.send_request(request).await,
            Self::Http1(sender) => {
                let path = request.uri().path_and_query().unwrap().as_str().parse().unwrap();
                *request.uri_mut() = path;
                request.headers_mut().insert("host", "localhost".parse().unwrap());
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

pub async fn answer(sender: &mut Sender, request: Request<Full<Bytes>>) -> (u16, Value) {
    let response = sender.send(request).await.unwrap();
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&text).unwrap_or_else(|_| String::from_utf8_lossy(&text).into()))
}

/// Waits for something, but not for ever.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..6000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within two minutes: {what}");
}

/// What this process holds in memory, MiB.
pub fn rss_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() / 1024
}

/// How many; more by hand: `LINKSPAN_MANY=1000000`.
pub fn many(usual: usize) -> usize {
    std::env::var("LINKSPAN_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(usual)
}
