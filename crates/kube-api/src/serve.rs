//! The server's connections: TLS, HTTP/1.1 and HTTP/2, and an answer for every request whatever happens.

use std::{any::Any, convert::Infallible, sync::Arc, time::Duration};

use futures_util::FutureExt;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    answer::{self, Answer},
    auth::User,
    route,
    server::Server,
    status::Failure,
};

/// How many connections there are at a time.
const CONNECTIONS_MAX: usize = 8192;
/// How many requests a connection has at a time.
const STREAMS_MAX: u32 = 1000;
/// How long a client may take to greet, and to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait when the process has no descriptor left for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a silent HTTP/2 connection is asked whether it still is there.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Serves for as long as it is polled.
pub async fn serve(server: Server, listener: TcpListener, tls: Arc<ServerConfig>) {
    let tls = TlsAcceptor::from(tls);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = listener.accept().await;
        let connection = match accepted {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the Kubernetes API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Who comes when it is full finds the door closed, not a queue without end.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (server, tls) = (server.clone(), tls.clone());
        tokio::spawn(async move {
            converse(server, connection, tls).await;
            drop(place);
        });
    }
}

async fn converse(server: Server, connection: TcpStream, tls: TlsAcceptor) {
    // An answer is written whole, so waiting for more to send gains nothing.
    drop(connection.set_nodelay(true));
    let greeted = timeout(HEAD_TIMEOUT, tls.accept(connection)).await;
    let Ok(Ok(connection)) = greeted else { return };
    let certificates = connection.get_ref().1.peer_certificates();
    let user = certificates.and_then(|all| all.first()).and_then(|first| User::of_certificate(first));
    let service = service_fn(move |request| {
        let (server, user) = (server.clone(), user.clone());
        async move { Ok::<_, Infallible>(respond(server, user, request).await) }
    });
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_EVERY)
        .max_header_list_size(64 * 1024);
    if let Err(why) = http.serve_connection_with_upgrades(TokioIo::new(connection), service).await {
        tracing::debug!(%why, "a client of the Kubernetes API left in the middle");
    }
}

/// Answers a request. The work is a task of its own: a client that leaves does not stop a write half way.
async fn respond(server: Server, user: Option<User>, request: Request<Incoming>) -> Answer {
    let line = format!("{} {}", request.method(), request.uri());
    let work = async move { route::dispatch(&server, user, request).await };
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
