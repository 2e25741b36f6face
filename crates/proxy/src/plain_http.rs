//! Small answers over plain HTTP for whoever looks after what runs here: health and metrics. Who stalls, does not read or hangs up is soon
//! let go.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet, time::timeout};
use tracing::debug;

/// Clients at a time; others wait in the kernel's queue.
const CLIENTS: usize = 64;
/// How long a client may take to say what it wants and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// After an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// The type of what is answered to programs.
pub const JSON: &str = "application/json";
/// That of metrics, in Prometheus' text format, and of words.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// What it says.
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

/// Answers by path, one request a connection, until it is dropped.
pub async fn serve<F>(listener: TcpListener, answer: impl Fn(String) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Answer> + Send + 'static,
{
    within(listener, answer, CLIENTS, PATIENCE).await;
}

async fn within<F>(
    listener: TcpListener,
    answer: impl Fn(String) -> F + Clone + Send + Sync + 'static,
    clients: usize,
    patience: Duration,
) where
    F: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(clients));
    let mut conversations = JoinSet::new();
    loop {
        // It is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        while conversations.try_join_next().is_some() {}
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
        let conversation = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(client), service);
        conversations.spawn(async move {
            // Who breaks off here, or is late, harms nobody.
            let _ = timeout(patience, conversation).await;
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;

    #[tokio::test]
    async fn who_stalls_does_not_read_or_hangs_up_keeps_nobody_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        // More than the kernel keeps for who does not read.
        let answer = |path: String| async move {
            let long = if path == "/long" { 64 << 20 } else { 2 };
            Answer::new(StatusCode::OK, TEXT, "ok".repeat(long / 2))
        };
        let patience = Duration::from_millis(200);
        let serving = tokio::spawn(within(listener, answer, 3, patience));
        let mut harmful = Vec::new();
        for words in ["", "GET /metrics HTT", "GET /long HTTP/1.1\r\nHost: a\r\n\r\n"] {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(words.as_bytes()).await.unwrap();
            harmful.push(client);
        }
        drop(TcpStream::connect(at).await.unwrap());
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut said = String::new();
        let answered = client.read_to_string(&mut said);
        timeout(Duration::from_secs(60), answered).await.expect("it is answered, and it ends").unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("ok"), "{said}");
        serving.abort();
    }
}
