//! Calls: a request after the router has read its path, and the bodies it may have.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{
    HeaderMap, Method, StatusCode,
    body::{Body as _, Incoming},
    header,
    upgrade::OnUpgrade,
};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::{ApiError, query::Query, version::Version};

/// The largest JSON body, in bytes.
const JSON_MAX_BYTES: usize = 8 << 20;
/// How long a client may take to send a JSON body.
const JSON_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a body that nobody wants is read, in bytes.
const DISCARD_MAX_BYTES: usize = 256 << 10;
/// How long it may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request.
pub(crate) struct Call {
    /// GET, POST, ...
    pub(crate) method: Method,
    /// Which version of the API was asked for.
    pub(crate) version: Version,
    /// What stands after the `?`.
    pub(crate) query: Query,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Body,
    /// The connection itself, once the answer with the upgrade has been sent.
    pub(crate) upgrade: OnUpgrade,
}

/// A request's body. A client that sends all of it before it reads would never see an answer that comes earlier, so what is left when
/// nobody wants it any more is read and thrown away, as far as Go's server does.
pub(crate) struct Body(Option<Incoming>);

impl From<Incoming> for Body {
    fn from(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body {
    /// The next piece.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let piece = self.0.as_mut()?.into_data_stream().next().await?;
        Some(piece.map_err(io::Error::other))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let left = self.0.take().filter(|body| !body.is_end_stream());
        if let (Some(body), Ok(tokio)) = (left, Handle::try_current()) {
            let discard = Limited::new(body, DISCARD_MAX_BYTES).collect();
            // Whoever sends more, or slower, loses the connection.
            tokio.spawn(async { drop(tokio::time::timeout(DISCARD_TIMEOUT, discard).await) });
        }
    }
}

impl Call {
    /// The JSON body; none if it is empty or `null`.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ApiError> {
        let bytes = self.small_body().await?;
        if !bytes.is_empty() {
            self.check_content_type()?;
        }
        parse_json(&bytes)
    }

    /// The JSON body, which must be there.
    pub(crate) async fn json_required<T: DeserializeOwned>(&mut self) -> Result<T, ApiError> {
        let document = self.json().await?;
        document.ok_or_else(|| ApiError::invalid("invalid JSON: got EOF while reading request body"))
    }

    /// A header's value, if it is there and readable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A body of any size, piece by piece.
    pub(crate) fn into_pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(self.body, |mut body| async move { Some((body.next().await?, body)) })
    }

    async fn small_body(&mut self) -> Result<Bytes, ApiError> {
        let Some(body) = self.body.0.as_mut() else { return Ok(Bytes::new()) };
        let limited = Limited::new(body, JSON_MAX_BYTES).collect();
        match tokio::time::timeout(JSON_TIMEOUT, limited).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request body is larger than {} MiB", JSON_MAX_BYTES >> 20),
            )),
            Ok(Err(error)) => Err(ApiError::invalid(format!("cannot read the request body: {error}"))),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("the request body did not arrive within {} s", JSON_TIMEOUT.as_secs()),
            )),
        }
    }

    fn check_content_type(&self) -> Result<(), ApiError> {
        let Some(given) = self.header(header::CONTENT_TYPE.as_str()) else { return Ok(()) };
        let media_type = given.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(ApiError::invalid(format!("unsupported Content-Type header ({given}): must be 'application/json'")))
    }
}

/// Reads one JSON document; none if there is none, or `null`.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let mut documents = serde_json::Deserializer::from_slice(bytes).into_iter::<Option<T>>();
    let first = match documents.next() {
        Some(Ok(document)) => document,
        Some(Err(error)) if error.is_eof() => return Err(ApiError::invalid("invalid JSON: unexpected EOF")),
        Some(Err(error)) => return Err(ApiError::invalid(format!("invalid JSON: {error}"))),
        None => None,
    };
    if bytes[documents.byte_offset()..].iter().all(u8::is_ascii_whitespace) {
        Ok(first)
    } else {
        Err(ApiError::invalid("unexpected content after JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    #[derive(Default)]
    struct Body {
        count: i64,
    }

    #[test]
    fn documents() {
        let check = |text: &str, expected: Result<Option<i64>, &str>| {
            let found = parse_json::<Body>(text.as_bytes()).map(|body| body.map(|b| b.count)).map_err(|e| e.message);
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        };
        check("", Ok(None));
        check(" \n", Ok(None));
        check("null", Ok(None));
        check("{}", Ok(Some(0)));
        check(r#"{"Count": 3, "Unknown": [1]}"#, Ok(Some(3)));
        check("{} \n", Ok(Some(0)));
        check("{", Err("invalid JSON: unexpected EOF"));
        check("{}{}", Err("unexpected content after JSON"));
        check("{} x", Err("unexpected content after JSON"));
        check(r#"{"Count": "3"}"#, Err("invalid JSON: invalid type: string \"3\", expected i64 at line 1 column 13"));
        check("nonsense", Err("invalid JSON: expected ident at line 1 column 2"));
    }
}
