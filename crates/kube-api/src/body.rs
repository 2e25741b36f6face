//! Bodies of requests: read within a limit, and in the forms that clients write.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{HeaderMap, body::Incoming, header::CONTENT_TYPE};
use serde_json::Value;

use crate::{protobuf, status::Failure};

/// The longest body, bytes: as kube-apiserver has it.
pub const BODY_MAX: usize = 3 * 1024 * 1024;

/// Kubernetes' protobuf.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Reads a body.
pub async fn read(body: Incoming) -> Result<Bytes, Failure> {
    match Limited::new(body, BODY_MAX).collect().await {
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
pub fn object(headers: &HeaderMap, body: &[u8]) -> Result<Value, Failure> {
    let object = match media_type(headers) {
        "application/json" => json(body)?,
        "application/yaml" | "text/yaml" | "application/x-yaml" => yaml(body)?,
        PROTOBUF => protobuf::object(body).map_err(|wrong| {
            Failure::bad_request(format!("the protobuf of the request's body cannot be read: {wrong}"))
        })?,
        _ => {
            return Err(Failure::unsupported_media(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    if object.is_object() {
        return Ok(object);
    }
    Err(Failure::bad_request("couldn't get version/kind; json parse error: the body of the request is not an object"))
}

/// JSON.
pub fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}")))
}

/// YAML, as far as JSON can say the same.
pub fn yaml(body: &[u8]) -> Result<Value, Failure> {
    let wrong = |why: String| Failure::bad_request(format!("yaml parse error: {why}"));
    let text = std::str::from_utf8(body).map_err(|e| wrong(e.to_string()))?;
    serde_saphyr::from_str(text).map_err(|e| wrong(e.to_string()))
}
