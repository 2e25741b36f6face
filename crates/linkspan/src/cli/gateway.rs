//! `linkspan gateway`: the HTTP gateway of a Kubernetes cluster, a process of its own that outlives the daemon.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use clap::Args;
use ipnet::IpNet;
use kube_agent::gateway;
use proxy::http::{self, Limits, Listeners, Settings, status};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;

/// Serve the Ingresses of a cluster: HTTP and HTTPS in, to the endpoints of services
#[derive(Args)]
pub struct Gateway {
    /// Where HTTP is served, as :80 or 192.0.2.1:80
    #[arg(long, value_name = "[ADDR]:PORT", default_value = ":80", value_parser = address)]
    http: SocketAddr,
    /// Where HTTPS is served
    #[arg(long, value_name = "[ADDR]:PORT", default_value = ":443", value_parser = address)]
    https: SocketAddr,
    /// Where /metrics, /healthz and /readyz are
    #[arg(long, value_name = "[ADDR]:PORT", default_value = ":10254", value_parser = address)]
    status: SocketAddr,
    /// How to reach the Kubernetes API [default: as the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Which Ingresses are served: the name of their IngressClass
    #[arg(long, value_name = "NAME", default_value = "linkspan")]
    ingress_class: String,
    /// Load balancers that tell the client's address by the PROXY protocol; may be repeated
    #[arg(long, value_name = "CIDR")]
    proxy_protocol_from: Vec<IpNet>,
    /// A line of JSON on standard output for every request
    #[arg(long)]
    access_log: bool,
    /// Threads that serve [default: one per processor, at most 4]
    #[arg(long, value_name = "NUMBER")]
    threads: Option<usize>,
    /// The most octets that a request's body may have [default: no limit]
    #[arg(long, value_name = "OCTETS")]
    max_body: Option<u64>,
    /// How long a service may take to begin its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    response_timeout: u64,
    /// How long connections are still accepted after SIGTERM, while load balancers find out
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    drain_notice: u64,
    /// How long requests under way may take after that
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    drain_grace: u64,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

impl Gateway {
    pub fn run(self) -> Outcome {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log_level).unwrap_or_default();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).init();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve())?;
        Ok(ExitCode::SUCCESS)
    }

    async fn serve(self) -> Result<(), Box<dyn std::error::Error>> {
        let mut told = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let client = gateway::connect(self.kubeconfig.as_deref()).await?;
        let listeners = Listeners { http: vec![bind(self.http)?], https: vec![bind(self.https)?] };
        let table = Arc::default();
        let running = http::Gateway::start(listeners, &table, self.settings())?;
        let ready = Arc::new(AtomicBool::new(false));
        let status = tokio::spawn(status::serve(bind(self.status)?, running.metrics(), ready.clone()));
        tracing::info!(http = %self.http, https = %self.https, status = %self.status, class = self.ingress_class, "serving");
        let complete = || {
            tracing::info!("every Ingress is known");
            ready.store(true, Ordering::Relaxed);
        };
        tokio::select! {
            () = gateway::follow(client, &self.ingress_class, table, complete) => {}
            _ = told.0.recv() => {}
            _ = told.1.recv() => {}
        }
        tracing::info!("on the way out");
        ready.store(false, Ordering::Relaxed);
        running.drain(Duration::from_secs(self.drain_notice), Duration::from_secs(self.drain_grace)).await;
        status.abort();
        Ok(())
    }

    fn settings(&self) -> Settings {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits {
            connections: connections(),
            body_octets: self.max_body,
            response_patience: Duration::from_secs(self.response_timeout),
            ..Limits::default()
        };
        Settings {
            proxy_protocol_from: self.proxy_protocol_from.clone(),
            access_log: self.access_log,
            threads: self.threads.unwrap_or(processors.min(4)),
            limits,
        }
    }
}

/// As many clients as there may be files, with one more for each and some for everything else.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the number of open files stays limited");
    }
    let files =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files.saturating_sub(128) / 2).clamp(16, Limits::default().connections)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    match text.strip_prefix(':') {
        Some(port) => {
            port.parse().map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).map_err(|e| e.to_string())
        }
        None => text.parse().map_err(|_| format!("{text:?} is not ADDR:PORT or :PORT")),
    }
}

/// A host without IPv6 has no `[::]`.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let any = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let bound = TcpListener::bind(address);
    let bound = if any { bound.or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))) } else { bound };
    bound.map_err(|error| io::Error::new(error.kind(), format!("cannot listen at {address}: {error}")))
}
