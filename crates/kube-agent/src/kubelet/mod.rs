//! Kubelet's own HTTPS API: what the API server asks a node for its users. Logs, processes in containers, ports of pods.

mod command;
mod find;
mod forward;
mod logs;
pub(crate) mod query;
pub(crate) mod spdy;
mod upgrade;
mod usage;
pub(crate) mod websocket;

use std::{convert::Infallible, io, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use self::query::Query;
use crate::{Shared, pods::Known};

/// Where kubelet's API is served, and to whom.
pub struct Kubelet {
    /// The port.
    pub listener: TcpListener,
    /// Certificate, key, and whose certificates are taken.
    pub tls: Arc<rustls::ServerConfig>,
}

/// What requests are answered from.
#[derive(Clone)]
pub(crate) struct Desk {
    shared: Arc<Shared>,
    known: Known,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Response<Body>;

/// Why a request is not granted: the words are the whole answer, as kubelet has it.
#[derive(Debug)]
struct Refusal(StatusCode, String);

/// The task that serves.
pub(crate) async fn serve(
    kubelet: Kubelet,
    shared: Arc<Shared>,
    known: Known,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let Kubelet { listener, tls } = kubelet;
    listener.local_addr()?;
    let desk = Desk { shared, known };
    let acceptor = TlsAcceptor::from(tls);
    Ok(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(converse(desk.clone(), acceptor.clone(), stream))),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection to kubelet's API");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    })
}

async fn converse(desk: Desk, acceptor: TlsAcceptor, stream: TcpStream) {
    // What is typed goes out as it is typed.
    let _ = stream.set_nodelay(true);
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return debug!(%error, "a client of kubelet's API is not let in"),
    };
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(answer(&desk, request).await) }
    });
    let conversation = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = conversation.await {
        debug!(%error, "a client of kubelet's API left in the middle");
    }
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(query::decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let outcome = match (request.method(), parts.as_slice()) {
        (&Method::GET, ["healthz" | "livez" | "readyz"]) => Ok(text(StatusCode::OK, "ok")),
        (&Method::GET, ["pods"]) => Ok(pods(desk)),
        (&Method::GET, ["stats", "summary"]) => Ok(document(&usage::summary(desk).await)),
        (&Method::GET, ["metrics", "resource"]) => Ok(text(StatusCode::OK, &usage::metrics(desk).await)),
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            logs::logs(desk, (namespace, pod, container), &query).await
        }
        (_, ["exec", namespace, pod, container] | ["exec", namespace, pod, _, container]) => {
            command::exec(desk, (namespace, pod, container), &query, request).await
        }
        (_, ["attach", namespace, pod, container] | ["attach", namespace, pod, _, container]) => {
            command::attach(desk, (namespace, pod, container), &query, request).await
        }
        (_, ["portForward", namespace, pod] | ["portForward", namespace, pod, _]) => {
            forward::forward(desk, namespace, pod, request)
        }
        _ => Err(Refusal(StatusCode::NOT_FOUND, "404 page not found".to_owned())),
    };
    outcome.unwrap_or_else(|Refusal(status, words)| text(status, &words))
}

/// All pods of the node.
fn pods(desk: &Desk) -> Answer {
    let pods: Vec<_> = desk.known.all().iter().map(|pod| json!(**pod)).collect();
    document(&json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods }))
}

fn document(value: &serde_json::Value) -> Answer {
    let mut answer = text(StatusCode::OK, &value.to_string());
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, words: &str) -> Answer {
    let body = Full::new(Bytes::copy_from_slice(words.as_bytes())).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let plain = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

/// An answer whose body comes piece by piece.
fn pipe() -> (mpsc::Sender<io::Result<Bytes>>, Answer) {
    let (sender, receiver) = mpsc::channel(16);
    let pieces = stream::unfold(receiver, async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
        Some((receiver.recv().await?, receiver))
    });
    let mut answer = text(StatusCode::OK, "");
    *answer.body_mut() = UnsyncBoxBody::new(StreamBody::new(pieces.map(|piece| piece.map(Frame::data)).boxed()));
    (sender, answer)
}

impl Refusal {
    fn invalid(words: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, words.into())
    }

    fn missing(words: impl Into<String>) -> Self {
        Self(StatusCode::NOT_FOUND, words.into())
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}
