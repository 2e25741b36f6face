//! Bodies of requests: read within a limit, and in the forms that clients write.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{HeaderMap, body::Incoming, header::CONTENT_TYPE};
use tokio::time::timeout;

use crate::{
    protobuf,
    status::Failure,
    text::{self, Read},
};

/// The longest body, bytes: as kube-apiserver has it.
pub const BODY_MAX: usize = 3 * 1024 * 1024;

/// How long a client may take to send it: as long as kube-apiserver gives a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// Kubernetes' protobuf.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Reads a body.
pub async fn read(body: Incoming) -> Result<Bytes, Failure> {
    let Ok(outcome) = timeout(PATIENCE, Limited::new(body, BODY_MAX).collect()).await else {
        return Err(Failure::timeout("request did not complete within the allotted timeout"));
    };
    match outcome {
        Ok(all) => Ok(all.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::too_large(BODY_MAX)),
        Err(error) => Err(Failure::bad_request(format!("the body of the request cannot be read: {error}"))),
    }
}

/// The media type of a body, without parameters; JSON if the client does not say.
pub fn media_type(headers: &HeaderMap) -> &str {
    let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match named.split(';').next().unwrap_or_default().trim() {
        "" => "application/json",
        media_type => media_type,
    }
}

/// The object that a body holds.
pub fn object(headers: &HeaderMap, body: &[u8]) -> Result<Read, Failure> {
    let object = match media_type(headers) {
        "application/json" => json(body)?,
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(body)?,
        PROTOBUF => {
            let wrong = |wrong| format!("the protobuf of the request's body cannot be read: {wrong}");
            let value = protobuf::object(body).map_err(|why| Failure::bad_request(wrong(why)))?;
            Read { value, twice: Vec::new() }
        }
        _ => {
            return Err(Failure::unsupported_media(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    if object.value.is_object() {
        return Ok(object);
    }
    Err(Failure::bad_request("couldn't get version/kind; json parse error: the body of the request is not an object"))
}

/// JSON.
pub fn json(body: &[u8]) -> Result<Read, Failure> {
    text::json(body).map_err(|error| {
        // How deep values may be within values is the reader's to say, and it says so by words alone.
        if error.is_syntax() && error.to_string().starts_with("recursion limit exceeded") {
            return Failure::unprocessable(format!("the body of the request is nested too deep: {error}"));
        }
        Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })
}

/// YAML, as far as JSON can say the same; most who send it write JSON, which is read faster as what it is.
pub fn yaml(body: &[u8]) -> Result<Read, Failure> {
    if body.starts_with(b"{")
        && let Ok(read) = text::json(body)
        && read.twice.is_empty()
    {
        return Ok(read);
    }
    let wrong = |why: String| Failure::bad_request(format!("yaml parse error: {why}"));
    let text = std::str::from_utf8(body).map_err(|e| wrong(e.to_string()))?;
    text::yaml(text).map_err(|e| wrong(e.to_string()))
}
