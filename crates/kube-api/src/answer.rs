//! Answers: in which form the client takes them, and how they are sent.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING},
};
use serde_json::Value;

use crate::{object::Look, status::Failure};

/// What goes to the client.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// As what objects are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Whole,
    /// As rows of a `meta.k8s.io` Table of this version.
    Table(&'static str),
    /// Only their metadata.
    Metadata,
}

impl Form {
    /// The first that the client takes and that there is: RFC 9110, 12.5.1 without weights, which no client of Kubernetes uses otherwise
    /// than by order.
    pub fn asked(headers: &HeaderMap) -> Result<Self, Failure> {
        let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
        accept.split(',').find_map(Self::of_range).ok_or_else(Failure::not_acceptable)
    }

    fn of_range(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let known = matches!(parts.next()?, "application/json" | "*/*" | "application/*" | "");
        let (mut form, mut version) = (None, None);
        for part in parts {
            match part.split_once('=') {
                Some(("as", wanted)) => form = Some(wanted),
                Some(("v", wanted)) => version = Some(wanted),
                Some(("stream", _)) => return None,
                _ => {}
            }
        }
        let version = match version {
            None | Some("v1") => "v1",
            Some("v1beta1") => "v1beta1",
            Some(_) => return None,
        };
        match (known, form) {
            (true, None) => Some(Self::Whole),
            (true, Some("Table")) => Some(Self::Table(version)),
            (true, Some("PartialObjectMetadata" | "PartialObjectMetadataList")) => Some(Self::Metadata),
            _ => None,
        }
    }
}

/// An answer of JSON.
pub fn json(status: StatusCode, body: &Value) -> Answer {
    // A vector takes everything, and values have no keys but text.
    bytes(status, serde_json::to_vec(body).unwrap_or_default().into())
}

/// An answer of JSON that is written already.
pub fn bytes(status: StatusCode, body: Bytes) -> Answer {
    of_type(status, "application/json", body)
}

/// An answer of plain text.
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    of_type(status, "text/plain; charset=utf-8", body.into())
}

/// An answer of some type.
pub fn of_type(status: StatusCode, media_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// A refusal.
pub fn refuse(failure: &Failure) -> Answer {
    let status = StatusCode::from_u16(failure.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(status, &failure.body());
    if let Some(seconds) = failure.details.int("retryAfterSeconds") {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// Tells the client of what it should not have done (RFC 9111, 5.5, as Kubernetes uses it).
pub fn warn(answer: &mut Answer, warnings: &[String]) {
    for warning in warnings {
        if let Ok(warning) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
            answer.headers_mut().append(WARNING, warning);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let check = |accept: &'static str, expected| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::asked(&headers).ok(), expected, "{accept}");
        };
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        check(kubectl, Some(Form::Table("v1")));
        check("application/json;as=Table;v=v2;g=meta.k8s.io, application/json", Some(Form::Whole));
        check("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", Some(Form::Metadata));
        check("application/vnd.kubernetes.protobuf,application/json", Some(Form::Whole));
        check("application/vnd.kubernetes.protobuf", None);
        check("*/*", Some(Form::Whole));
        check("text/html", None);
    }
}
