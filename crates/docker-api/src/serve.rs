//! The HTTP server on the unix socket: connections, headers, panics. It ends when it is told to.

use std::{any::Any, convert::Infallible, os::fd::AsFd, sync::Arc, time::Duration};

use engine::{Engine, Places};
use futures_util::FutureExt;
use hyper::{Method, Request, body::Incoming, header::HeaderValue, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::{UnixListener, UnixStream},
};

use crate::{
    Api, ApiError, ApiSettings,
    answer::{self, Answer},
    exec::Execs,
    route, version,
};

/// How long a client may take to send the head of a request, also on a connection that it keeps.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when the process has no descriptor left for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the Docker Engine API on the socket until `shutdown` ends. Connections that are open then are cut when the runtime ends.
pub async fn serve(
    engine: Engine,
    listener: UnixListener,
    settings: ApiSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let places = Places { data_root: settings.data_root.clone(), run_dir: settings.run_dir.clone() };
    let api = Arc::new(Api { engine, settings, places, execs: Execs::default() });
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => return,
        };
        match accepted {
            Ok((connection, _)) => drop(tokio::spawn(converse(Arc::clone(&api), connection))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the Docker API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(api: Arc<Api>, connection: UnixStream) {
    let service = service_fn(move |request| {
        let api = Arc::clone(&api);
        async move { Ok::<_, Infallible>(answer(api, request).await) }
    });
    let gone = hung_up(&connection);
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        // Who has said all may still want the answer: `printf ... | nc -U`.
        .half_close(true)
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    let left = tokio::select! {
        ended = conversation => ended.err().map(|error| error.to_string()),
        () = gone => Some("it hung up".to_owned()),
    };
    if let Some(why) = left {
        tracing::debug!(why, "a client of the Docker API left in the middle");
    }
}

/// Waits until the client has closed its end altogether, which a read cannot tell from the end of what it has to say. Epoll tells of
/// that by EPOLLHUP, unasked: it is asked for nothing that ever comes on a unix socket.
fn hung_up(connection: &UnixStream) -> impl Future<Output = ()> + use<> {
    let second = connection.as_fd().try_clone_to_owned();
    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of descriptors that others close; this one is ours alone"
    )]
    let watched = second.and_then(|socket| AsyncFd::with_interest(socket, Interest::PRIORITY));
    async move {
        match watched {
            Ok(watched) => drop(watched.ready(Interest::PRIORITY).await),
            // Then only a failed write tells.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Answers a request, whatever happens. The work is a task of its own: a client that leaves does not stop it half way.
async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Answer {
    let server = format!("linkspan/{} (linux)", api.settings.version);
    let head = request.method() == Method::HEAD;
    let line = format!("{} {}", request.method(), request.uri().path());
    let work = tokio::spawn(std::panic::AssertUnwindSafe(route::dispatch(api, request)).catch_unwind());
    let outcome = match work.await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            tracing::error!(request = line, panic = words(&*panic), "a handler of the Docker API panicked");
            Err(ApiError::internal("internal error: this is a bug of linkspan; its log says where"))
        }
        Err(_) => Err(ApiError::internal("the daemon is shutting down")),
    };
    let mut answer = outcome.unwrap_or_else(|error| {
        tracing::debug!(request = line, status = error.status.as_u16(), message = error.message, "refused");
        answer::refuse(&error)
    });
    if head && !answer.status().is_success() {
        answer = answer::empty(answer.status());
    }
    let headers = answer.headers_mut();
    headers.insert("api-version", version_header());
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    if let Ok(server) = HeaderValue::from_str(&server) {
        headers.insert("server", server);
    }
    answer
}

fn version_header() -> HeaderValue {
    HeaderValue::from_str(&version::NEWEST.to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words")
}
