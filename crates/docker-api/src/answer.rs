//! Answers: JSON, nothing, or a stream.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, stream};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Response, StatusCode, body::Frame, header};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::ApiError;

/// The body of an answer.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An answer. A handler gives `Result<Answer, ApiError>`.
pub(crate) type Answer = Response<Body>;

/// How many pieces wait for a slow client before the writer waits for it.
const PIPE_DEPTH: usize = 16;

/// 200 with this document.
pub(crate) fn ok(document: &impl Serialize) -> Result<Answer, ApiError> {
    json(StatusCode::OK, document)
}

/// This status with this document.
pub(crate) fn json(status: StatusCode, document: &impl Serialize) -> Result<Answer, ApiError> {
    let mut text = serde_json::to_vec(document)
        .map_err(|error| ApiError::internal(format!("cannot write the answer: {error}")))?;
    text.push(b'\n');
    Ok(with_type(status, "application/json", full(text)))
}

/// This status and nothing else.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(nothing());
    *answer.status_mut() = status;
    answer
}

/// 204, what Docker answers when there is nothing to say.
pub(crate) fn done() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// 200 with some text.
pub(crate) fn text(words: impl Into<Bytes>) -> Answer {
    with_type(StatusCode::OK, "text/plain; charset=utf-8", full(words))
}

/// 200 with a stream; an error cuts the connection, so that the client does not take a part for the whole.
pub(crate) fn stream(
    content_type: &'static str,
    pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let body = BodyExt::boxed_unsync(StreamBody::new(pieces.map_ok(Frame::data)));
    with_type(StatusCode::OK, content_type, body)
}

/// 200 with what will be sent from elsewhere: its headers go out at once, it ends when the sender is dropped, and sending fails when
/// the client has left. A slow client makes the sender wait.
pub(crate) fn pipe(content_type: &'static str) -> (mpsc::Sender<io::Result<Bytes>>, Answer) {
    let (sender, mut receiver) = mpsc::channel(PIPE_DEPTH);
    (sender, stream(content_type, stream::poll_fn(move |context| receiver.poll_recv(context))))
}

/// The answer that says no. 304 and HEAD have no body.
pub(crate) fn refuse(error: &ApiError) -> Answer {
    if error.status == StatusCode::NOT_MODIFIED {
        return empty(error.status);
    }
    let mut text = serde_json::json!({ "message": error.message }).to_string().into_bytes();
    text.push(b'\n');
    with_type(error.status, "application/json", full(text))
}

/// This status with a body of this type.
pub(crate) fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    answer
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body without a byte.
pub(crate) fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
