//! What the gateway answers by itself, in plain words. The cause that concerns only the operator is in the log.

use hyper::{Response, StatusCode, header};

use super::body::ResponseBody;

/// Why a request was not answered by a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request breaks HTTP, or is one that gateways refuse to guess about.
    Bad(String),
    /// No rule, no default.
    NoRoute,
    /// The client was too slow with the body.
    Slow,
    /// The body is longer than allowed, in octets.
    TooLong(u64),
    /// More or longer header fields than allowed.
    Headers,
    /// The backend answered with something that is not HTTP, or broke off, or could not be reached. The cause is for the log.
    BadGateway(String),
    /// Nobody is there to answer. The cause is for the log.
    Unavailable(String),
    /// The backend did not answer in time. The cause is for the log.
    Timeout(String),
}

impl Refusal {
    /// RFC 9110, 15.5 and 15.6; RFC 6585, 5.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Headers => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// What the operator is told.
    pub fn cause(&self) -> &str {
        match self {
            Self::Bad(why) | Self::BadGateway(why) | Self::Unavailable(why) | Self::Timeout(why) => why,
            Self::NoRoute => "no rule",
            Self::Slow => "the client is slow",
            Self::TooLong(_) => "the body is too long",
            Self::Headers => "the header is too long",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Bad(why) => why.clone(),
            Self::NoRoute => "no rule is for this host and path".to_owned(),
            Self::Slow => "the request did not arrive in time".to_owned(),
            Self::TooLong(limit) => format!("the body of a request may have {limit} octets here"),
            Self::Headers => "the header of the request has too many fields or is too long".to_owned(),
            Self::BadGateway(_) => "the service behind this gateway gave no valid answer".to_owned(),
            Self::Unavailable(_) => "the service behind this gateway has nobody to answer now".to_owned(),
            Self::Timeout(_) => "the service behind this gateway did not answer in time".to_owned(),
        }
    }

    /// Whether what is left of the request cannot be told from the next one, or is not wanted.
    fn ends_connection(&self) -> bool {
        matches!(self, Self::Bad(_) | Self::Slow | Self::TooLong(_) | Self::Headers)
    }

    pub(super) fn response(&self, http2: bool) -> Response<ResponseBody> {
        let text = format!("{}: {}\n", self.status(), self.text());
        let mut response = Response::new(ResponseBody::text(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.ends_connection() && !http2 {
            headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        }
        response
    }
}

/// The answer to a header that does not come to its end, sent past hyper, which only hangs up.
pub(super) const HEADER_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\n\
    connection: close\r\ncontent-length: 56\r\n\r\n408 Request Timeout: the request did not arrive in time\n";
