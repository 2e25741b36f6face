//! Connections to endpoints: kept while they are wanted, given to one request at a time in HTTP/1.1, shared in HTTP/2. Each thread has
//! a pool of its own.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    Limits, Stage,
    accept::Worker,
    body::RequestBody,
    proxy_protocol::{self, Addresses},
    stream::Stream,
    table::Protocol,
};
use crate::tls;

/// How long a connection is kept that nobody needs. Servers close theirs after 60 to 75 seconds as a rule.
const KEPT: Duration = Duration::from_secs(50);

/// Connections kept to one endpoint.
const KEPT_MOST: usize = 256;

/// How long an endpoint that did not accept is passed over while there are others.
const REFUSED: Duration = Duration::from_secs(1);

/// How long a connection may take to be ready again after its answer was read; it is, as soon as its task has run.
const READY: Duration = Duration::from_millis(50);

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("it does not accept: {0}")]
    Refused(#[source] io::Error),
    #[error("it did not accept in time")]
    Late,
    #[error("it does not speak TLS with us: {0}")]
    Tls(#[source] io::Error),
    #[error("it speaks TLS, but not HTTP/2 in it")]
    NotHttp2,
    #[error("it does not speak HTTP: {0}")]
    Handshake(#[source] hyper::Error),
}

/// All endpoints that this thread talks to.
#[derive(Debug)]
pub(super) struct Pool {
    endpoints: Mutex<HashMap<(SocketAddr, Protocol), Arc<Endpoint>>>,
    connect_patience: Duration,
    tls: EndpointTls,
}

/// How TLS is spoken to endpoints.
#[derive(Debug, Clone)]
pub(super) struct EndpointTls {
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

impl EndpointTls {
    pub fn new() -> io::Result<Self> {
        Ok(Self { http1: tls::unverified(&["http/1.1"])?, http2: tls::unverified(&["h2"])? })
    }

    fn of(&self, protocol: Protocol) -> Option<Arc<ClientConfig>> {
        protocol.has_tls().then(|| if protocol.is_http2() { self.http2.clone() } else { self.http1.clone() })
    }
}

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    connect_patience: Duration,
    /// Requests under way.
    active: AtomicUsize,
    refused: Mutex<Option<Instant>>,
    idle: Mutex<Vec<(Instant, http1::SendRequest<RequestBody>)>>,
    /// Whoever finds none makes it while the others wait.
    shared: tokio::sync::Mutex<Option<http2::SendRequest<RequestBody>>>,
}

/// Nothing here panics while it holds a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub fn new(limits: &Limits, tls: EndpointTls) -> Self {
        Self { endpoints: Mutex::default(), connect_patience: limits.connect_patience, tls }
    }

    pub fn endpoint(&self, address: SocketAddr, protocol: Protocol) -> Arc<Endpoint> {
        let mut endpoints = lock(&self.endpoints);
        let endpoint = endpoints.entry((address, protocol)).or_insert_with(|| {
            Arc::new(Endpoint {
                address,
                tls: self.tls.of(protocol),
                connect_patience: self.connect_patience,
                active: AtomicUsize::new(0),
                refused: Mutex::default(),
                idle: Mutex::default(),
                shared: tokio::sync::Mutex::default(),
            })
        });
        endpoint.clone()
    }

    /// Requests under way at an endpoint; `None` when it refused lately.
    pub fn cost(&self, address: SocketAddr, protocol: Protocol) -> Option<usize> {
        let endpoints = lock(&self.endpoints);
        let Some(endpoint) = endpoints.get(&(address, protocol)) else { return Some(0) };
        let refused = lock(&endpoint.refused).is_some_and(|at| at.elapsed() < REFUSED);
        (!refused).then(|| endpoint.active.load(Relaxed))
    }

    /// Forgets connections that nobody has needed for long, and endpoints without any.
    fn sweep(&self) {
        lock(&self.endpoints).retain(|_, endpoint| {
            let mut idle = lock(&endpoint.idle);
            idle.retain(|(since, sender)| since.elapsed() < KEPT && !sender.is_closed());
            // Held here alone: no request is under way.
            let used = !idle.is_empty() || Arc::strong_count(endpoint) > 1;
            used || endpoint.shared.try_lock().map_or(true, |shared| shared.as_ref().is_some_and(|s| !s.is_closed()))
        });
    }
}

/// Looks after the pool of a thread until the gateway ends.
pub(super) async fn sweep(worker: Arc<Worker>) {
    let mut stage = worker.stage.clone();
    loop {
        tokio::select! {
            _ = stage.wait_for(|stage| *stage == Stage::Closing) => return,
            () = sleep(Duration::from_secs(5)) => worker.pool.sweep(),
        }
    }
}

impl Endpoint {
    /// A connection that is kept, if any is still good.
    pub async fn kept(&self) -> Option<http1::SendRequest<RequestBody>> {
        loop {
            let (since, mut sender) = lock(&self.idle).pop()?;
            if sender.is_closed() || since.elapsed() > KEPT {
                continue;
            }
            if sender.is_ready() || matches!(timeout(READY, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    /// A new connection, whose first octets tell of the client where that is asked for.
    pub async fn connect(
        &self,
        tell: Option<(proxy_protocol::Version, Addresses)>,
    ) -> Result<http1::SendRequest<RequestBody>, ConnectError> {
        let stream = self.open(tell).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ConnectError::Handshake)?;
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%address, %error, "a connection to an endpoint broke");
            }
        });
        Ok(sender)
    }

    /// The connection that HTTP/2 requests share. The second is whether it was there before.
    pub async fn shared(&self) -> Result<(http2::SendRequest<RequestBody>, bool), ConnectError> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), true));
        }
        let stream = self.open(None).await?;
        if let Stream::Tls(stream) = &stream
            && stream.get_ref().1.alpn_protocol() != Some(b"h2")
        {
            return Err(ConnectError::NotHttp2);
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(1024 * 1024)
            .initial_connection_window_size(4 * 1024 * 1024)
            .max_send_buf_size(64 * 1024)
            .keep_alive_interval(Duration::from_secs(30));
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(ConnectError::Handshake)?;
        let address = self.address;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "a connection to an endpoint broke");
            }
        });
        *shared = Some(sender.clone());
        Ok((sender, false))
    }

    async fn open(
        &self,
        tell: Option<(proxy_protocol::Version, Addresses)>,
    ) -> Result<Stream<TcpStream>, ConnectError> {
        let opened = timeout(self.connect_patience, self.begin(tell)).await.unwrap_or(Err(ConnectError::Late));
        *lock(&self.refused) = opened.is_err().then(Instant::now);
        opened
    }

    async fn begin(
        &self,
        tell: Option<(proxy_protocol::Version, Addresses)>,
    ) -> Result<Stream<TcpStream>, ConnectError> {
        let mut tcp = TcpStream::connect(self.address).await.map_err(ConnectError::Refused)?;
        // Both only make it better, as with clients.
        let _ = tcp.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_keepalive(&tcp, true);
        if let Some((version, addresses)) = tell {
            tcp.write_all(&proxy_protocol::write(version, &addresses)).await.map_err(ConnectError::Refused)?;
        }
        let Some(config) = &self.tls else { return Ok(Stream::Plain(tcp)) };
        let stream = tls::connect(config.clone(), tcp).await.map_err(ConnectError::Tls)?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    /// Counts a request until the lease ends.
    pub fn lease(self: &Arc<Self>) -> Lease {
        self.active.fetch_add(1, Relaxed);
        Lease { endpoint: self.clone(), sender: None, uploaded: None }
    }
}

/// A request's hold on an endpoint, and on the connection that it has for itself.
#[derive(Debug)]
pub(super) struct Lease {
    pub endpoint: Arc<Endpoint>,
    sender: Option<http1::SendRequest<RequestBody>>,
    uploaded: Option<Arc<AtomicBool>>,
}

impl Lease {
    /// The connection is kept after the answer, if the request has been sent by then.
    pub fn keep(&mut self, sender: http1::SendRequest<RequestBody>, uploaded: Option<Arc<AtomicBool>>) {
        self.sender = Some(sender);
        self.uploaded = uploaded;
    }

    /// The answer has been read to its end.
    pub fn give_back(mut self) {
        let uploaded = self.uploaded.take().is_none_or(|done| done.load(Relaxed));
        if let Some(sender) = self.sender.take().filter(|sender| uploaded && !sender.is_closed()) {
            let mut idle = lock(&self.endpoint.idle);
            if idle.len() < KEPT_MOST {
                idle.push((Instant::now(), sender));
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
    }
}
