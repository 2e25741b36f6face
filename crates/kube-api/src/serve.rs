//! The server's connections: TLS, HTTP/1.1 and HTTP/2, and an answer for every request whatever happens.

use std::{any::Any, convert::Infallible, io, sync::Arc, time::Duration};

use futures_util::FutureExt;
use hyper::{
    Request, StatusCode,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ServerConfig, pki_types::UnixTime};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    answer::{self, Answer},
    auth::{
        AUTHENTICATED,
        certificate::{Certificates, Shown},
    },
    crowd::{Crowd, Ticket},
    patience::{Begins, Takes},
    route,
    server::Server,
    status::Failure,
};

/// How many requests an HTTP/2 connection has at a time.
const STREAMS_MAX: u32 = 1000;
/// How long a client may take to greet, to send the head of a request, and to take some of what it asked for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait when the process has no descriptor left for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a silent HTTP/2 connection is asked whether it still is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// What waits in a connection for a client that is slow, bytes; of each request with HTTP/2. Also the longest head of a request.
const BUFFER_MAX: usize = 64 * 1024;
/// The longest head of a request with HTTP/2, bytes.
const HEAD_MAX: u32 = 64 * 1024;

/// By what connections are known and served.
#[derive(Clone)]
pub struct Door {
    /// TLS.
    pub tls: Arc<ServerConfig>,
    /// What the certificates of clients are worth.
    pub certificates: Arc<Certificates>,
    /// Who is there.
    pub crowd: Crowd,
}

/// Serves for as long as it is polled.
pub async fn serve(server: Server, listener: TcpListener, door: Door) {
    loop {
        let accepted = listener.accept().await;
        let connection = match accepted {
            Ok((connection, _)) => connection,
            Err(error) if is_theirs(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the Kubernetes API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who comes when it is full finds the door closed, not a queue without end.
        let Some(ticket) = door.crowd.enter() else { continue };
        let number = ticket.number();
        let task = tokio::spawn(converse(server.clone(), connection, door.clone(), ticket));
        door.crowd.ends_by(number, task.abort_handle());
    }
}

/// The client left before it was accepted.
fn is_theirs(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

async fn converse(server: Server, connection: TcpStream, door: Door, ticket: Ticket) {
    // An answer is written whole, so waiting for more to send gains nothing.
    drop(connection.set_nodelay(true));
    let (connection, clock) = Takes::new(connection, PATIENCE);
    let greeted = timeout(PATIENCE, TlsAcceptor::from(Arc::clone(&door.tls)).accept(connection)).await;
    let Ok(Ok(connection)) = greeted else { return };
    let greeting = connection.get_ref().1;
    let shown = door.certificates.judge(greeting.peer_certificates().unwrap_or_default(), UnixTime::now());
    let is_http2 = greeting.alpn_protocol() == Some(b"h2");
    let (crowd, number) = (door.crowd.clone(), ticket.number());
    let service = service_fn(move |request| {
        let (server, shown, crowd, clock) = (server.clone(), shown.clone(), crowd.clone(), clock.clone());
        async move {
            let answer = respond(server, shown, request, move || crowd.knows(number)).await;
            if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                clock.stop();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = TokioIo::new(Begins::new(connection, PATIENCE));
    let outcome = if is_http2 {
        http2().serve_connection(connection, service).await
    } else {
        http1().serve_connection(connection, service).with_upgrades().await
    };
    if let Err(why) = outcome {
        tracing::debug!(%why, "a client of the Kubernetes API left in the middle");
    }
    drop(ticket);
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(BUFFER_MAX);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_EVERY)
        .max_send_buf_size(BUFFER_MAX)
        .max_header_list_size(HEAD_MAX)
        // Of streams that are opened only to be reset (CVE-2023-44487), and of our resets that a client provokes.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100);
    builder
}

/// Answers a request. The work is a task of its own: a client that leaves does not stop a write half way. `known` is called when it turns
/// out that the server knows who asks.
async fn respond(
    server: Server,
    shown: Shown,
    request: Request<Incoming>,
    known: impl FnOnce() + Send + 'static,
) -> Answer {
    let line = format!("{} {}", request.method(), request.uri());
    let work = async move {
        let user = route::identify(&server, shown, request.headers())?;
        if user.is_in(AUTHENTICATED) {
            known();
        }
        route::dispatch(&server, user, request).await
    };
    let work = tokio::spawn(std::panic::AssertUnwindSafe(work).catch_unwind());
    let outcome = match work.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            tracing::error!(request = line, panic = words(&*panic), "a handler of the Kubernetes API panicked");
            Err(Failure::internal("this is a bug of linkspan; its log says where"))
        }
        Err(_) => Err(Failure::unavailable("the server is shutting down")),
    };
    outcome.unwrap_or_else(|failure| {
        tracing::debug!(request = line, code = failure.code, message = failure.message, "refused");
        answer::refuse(&failure)
    })
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
