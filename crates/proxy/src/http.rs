//! The HTTP gateway: accept -> TLS -> HTTP/1.1 or HTTP/2 -> route -> balance -> forward.
//!
//! It works on a [`Table`](table::Table) that is loaded once per request and swapped whole while traffic flows. Every thread has a
//! runtime, listening sockets, a pool of connections to endpoints and counters of its own, and shares with the others only the table.
//! What a client or an endpoint does wrong ends its own connection and nothing else.

mod accept;
mod access_log;
mod body;
pub mod certificate;
mod connection;
mod counters;
mod exchange;
mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod header;
pub mod host;
mod listen;
pub mod path;
mod peer;
mod pool;
pub mod proxy_protocol;
mod refusal;
mod request;
pub mod status;
mod stream;
pub mod table;
mod tunnel;

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use accept::Worker;
use counters::Counters;
use table::Table;

/// What is served and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who may, and then must, tell the client's address by the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
    /// A line of JSON on standard output for every request.
    pub access_log: bool,
    /// Threads that serve.
    pub threads: usize,
    /// What clients and endpoints may take.
    pub limits: Limits,
}

/// What one client or endpoint may take of time and memory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients' connections at a time, in all; more wait in the kernel's queue.
    pub connections: usize,
    /// Header fields of a request.
    pub fields: usize,
    /// Octets of all of them together.
    pub header_octets: usize,
    /// Octets of a request's body; `None` for no limit.
    pub body_octets: Option<u64>,
    /// HTTP/2 streams of a connection at a time.
    pub streams: u32,
    /// From the connection to the TLS handshake's end, and from a header's first octet to its last.
    pub header_patience: Duration,
    /// Between two requests.
    pub idle_patience: Duration,
    /// Between two pieces of a body from the client, and until it takes a piece from us.
    pub body_patience: Duration,
    /// For an endpoint to accept.
    pub connect_patience: Duration,
    /// For the header of an answer.
    pub response_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            fields: 100,
            header_octets: 32 * 1024,
            body_octets: None,
            streams: 128,
            header_patience: Duration::from_secs(10),
            idle_patience: Duration::from_secs(75),
            body_patience: Duration::from_secs(60),
            connect_patience: Duration::from_secs(3),
            response_patience: Duration::from_secs(60),
        }
    }
}

/// Sockets, already bound.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For HTTP.
    pub http: Vec<TcpListener>,
    /// For HTTP in TLS.
    pub https: Vec<TcpListener>,
}

/// How far the end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// No connection is accepted, none lives longer than its requests.
    Closing,
}

/// A gateway at work. Dropping it ends it with all connections; [`Gateway::drain`] is the gentle way.
#[derive(Debug)]
#[must_use = "dropping it ends the gateway"]
pub struct Gateway {
    stage: watch::Sender<Stage>,
    leaving: Arc<AtomicBool>,
    counters: Vec<Arc<Counters>>,
    ended: mpsc::Receiver<()>,
}

impl Gateway {
    /// Serves bound listeners.
    ///
    /// # Errors
    /// When a thread, its runtime, or the self-made certificate cannot be had.
    pub fn start(listeners: Listeners, table: &Arc<ArcSwap<Table>>, settings: Settings) -> io::Result<Self> {
        let (stage, stages) = watch::channel(Stage::Serving);
        let (alive, ended) = mpsc::channel(1);
        let leaving = Arc::new(AtomicBool::new(false));
        let tls = certificate::server(table.clone())?;
        let endpoint_tls = pool::EndpointTls::new()?;
        let log = settings.access_log.then(access_log::start).transpose()?;
        let mut counters = Vec::new();
        for (number, sockets) in listen::spread(listeners, settings.threads.max(1))?.into_iter().enumerate() {
            let worker = Worker {
                table: table.clone(),
                settings: settings.clone(),
                tls: tls.clone(),
                pool: pool::Pool::new(&settings.limits, endpoint_tls.clone()),
                counters: Arc::default(),
                log: log.clone(),
                leaving: leaving.clone(),
                stage: stages.clone(),
            };
            counters.push(worker.counters.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
            let alive = alive.clone();
            thread::Builder::new().name(format!("gateway-{number}")).spawn(move || {
                runtime.block_on(accept::run(Arc::new(worker), sockets));
                drop(alive);
            })?;
        }
        Ok(Self { stage, leaving, counters, ended })
    }

    /// Everything that is counted, in Prometheus' text format.
    pub fn metrics(&self) -> status::Metrics {
        status::Metrics(self.counters.clone())
    }

    /// Ends: for `notice` connections are still accepted and every answer asks the client to come back on another one, while load
    /// balancers find out; then listeners close, and what is under way has `grace` to end.
    pub async fn drain(mut self, notice: Duration, grace: Duration) {
        self.leaving.store(true, Ordering::Relaxed);
        sleep(notice).await;
        // It fails only when no thread is left.
        let _ = self.stage.send(Stage::Closing);
        if timeout(grace, self.ended.recv()).await.is_err() {
            tracing::warn!("connections that did not end in time are cut");
        }
    }
}
