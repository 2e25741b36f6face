//! Small answers over plain HTTP for whoever looks after the node: health and metrics. Nobody who stalls or hangs up harms it.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::{debug, warn};

/// Clients at a time; others wait in the kernel's queue.
const CLIENTS: usize = 64;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Types of what is answered.
pub const JSON: &str = "application/json";
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
    kind: &'static str,
    more: Option<(&'static str, HeaderValue)>,
}

impl Answer {
    /// An answer of a type.
    pub fn new(status: StatusCode, kind: &'static str, body: String) -> Self {
        Self { status, body, kind, more: None }
    }

    /// There is nothing at that path.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, TEXT, "404 page not found\n".to_owned())
    }

    /// The same with a header more; its name is written small.
    pub fn with(self, name: &'static str, value: HeaderValue) -> Self {
        Self { more: Some((name, value)), ..self }
    }
}

/// A port at all addresses of both families; where the host has no IPv6, of IPv4.
pub async fn listen_everywhere(port: u16, what: &str) -> Option<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Some(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => failed(port, what, &error),
        Err(_) => listen((Ipv4Addr::UNSPECIFIED, port).into(), what).await,
    }
}

/// A port; one that cannot be had is told, and nobody is answered there.
pub async fn listen(at: SocketAddr, what: &str) -> Option<TcpListener> {
    TcpListener::bind(at).await.map_or_else(|error| failed(at.port(), what, &error), Some)
}

fn failed(port: u16, what: &str, error: &io::Error) -> Option<TcpListener> {
    warn!(port, %error, "{what} cannot be asked for: who has the port?");
    None
}

/// Answers by path until it is dropped.
pub async fn serve<F>(listener: TcpListener, answer: impl Fn(String) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CLIENTS));
    let mut clients = tokio::task::JoinSet::new();
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while clients.try_join_next().is_some() {}
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                debug!(%error, "a client was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let answer = answer.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = answer(request.uri().path().to_owned());
            async move { Ok::<_, Infallible>(response(answer.await)) }
        });
        let conversation = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(PATIENCE)
            .serve_connection(TokioIo::new(client), service);
        clients.spawn(async move {
            // Who breaks off here harms nobody.
            let _ = conversation.await;
            drop(place);
        });
    }
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some((name, value)) = answer.more {
        headers.insert(HeaderName::from_static(name), value);
    }
    response
}
