//! A client's request, checked and made into the one that an endpoint gets.

use hyper::{
    HeaderMap, Method, Request, Uri, Version,
    body::{Body, Incoming},
    header::{self, HeaderValue},
    http::uri::{Authority, PathAndQuery, Scheme},
};

use super::{
    Limits,
    path::{self, Normal},
    refusal::Refusal,
    table::Protocol,
};

/// Where a request wants to go.
#[derive(Debug)]
pub(super) struct Target {
    /// As the client wrote it, with a port if it did.
    pub authority: HeaderValue,
    /// The authority without its port.
    pub host: String,
    /// Normal, without the query.
    pub path: String,
    /// What the endpoint gets when that is not what the client wrote.
    rewritten: Option<PathAndQuery>,
}

/// Reads where a request goes, and refuses what breaks HTTP (RFC 9112, 3 and 6.3) or is too much. hyper has refused what it cannot
/// parse before, and has read the framing: what it gives us is sent on with a framing of our own, so that it means one thing only.
pub(super) fn target(request: &Request<Incoming>, limits: &Limits) -> Result<Target, Refusal> {
    check_size(request.headers(), limits)?;
    if let (Some(limit), Some(length)) = (limits.body_octets, request.body().size_hint().exact())
        && length > limit
    {
        return Err(Refusal::TooLong(limit));
    }
    if request.method() == Method::CONNECT {
        return Err(Refusal::Bad("this gateway opens no tunnels by CONNECT".to_owned()));
    }
    let authority = authority(request)?;
    let host = host(&authority).ok_or_else(|| Refusal::Bad("the Host is not one".to_owned()))?.to_ascii_lowercase();
    let raw = request.uri().path();
    if raw == "*" {
        return Ok(Target { authority, host, path: "/".to_owned(), rewritten: None });
    }
    let normal = path::normalise(raw).map_err(|error| Refusal::Bad(error.to_string()))?;
    let (path, rewritten) = match normal {
        Normal::AsIs => (raw.to_owned(), None),
        Normal::Decoded(path) => (path, None),
        Normal::Resolved(path) => {
            let whole = request.uri().query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
            let whole = whole.parse().map_err(|_| Refusal::Bad("the path is not one".to_owned()))?;
            (path, Some(whole))
        }
    };
    Ok(Target { authority, host, path, rewritten })
}

fn check_size(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let octets: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if headers.len() > limits.fields || octets > limits.header_octets {
        return Err(Refusal::Headers);
    }
    Ok(())
}

/// The authority of the URI, which comes before the field (RFC 9112, 3.2.2), else the one field.
fn authority(request: &Request<Incoming>) -> Result<HeaderValue, Refusal> {
    let bad = |why: &str| Refusal::Bad(why.to_owned());
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(bad("the request has more than one Host"));
    }
    match (request.uri().authority(), field) {
        (Some(authority), _) if authority.as_str().contains('@') => Err(bad("the authority names a user")),
        (Some(authority), _) => HeaderValue::from_str(authority.as_str()).map_err(|_| bad("the Host is not one")),
        (None, Some(field)) => Ok(field.clone()),
        (None, None) if request.version() == Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        (None, None) => Err(bad("the request has no Host")),
    }
}

/// Without the port; `None` when it is not host and port.
fn host(authority: &HeaderValue) -> Option<&str> {
    let text = authority.to_str().ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, after) = rest.split_once(']')?;
            inside.parse::<std::net::Ipv6Addr>().ok()?;
            (&text[..inside.len() + 2], after)
        }
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let digits = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b);
    (port && host.bytes().all(plain)).then_some(host)
}

/// Makes the request line of what the endpoint gets. The hop's fields are dealt with elsewhere.
pub(super) fn address<B>(request: &mut Request<B>, target: &Target, protocol: Protocol) {
    let rewritten = target.rewritten.clone();
    match protocol {
        Protocol::Http1 | Protocol::Https1 => {
            if rewritten.is_some() || request.uri().authority().is_some() {
                let whole = rewritten.or_else(|| request.uri().path_and_query().cloned());
                *request.uri_mut() = whole.map_or_else(|| Uri::from_static("/"), Uri::from);
            }
            *request.version_mut() = Version::HTTP_11;
            request.headers_mut().insert(header::HOST, target.authority.clone());
        }
        Protocol::H2c | Protocol::H2 => {
            let mut parts = hyper::http::uri::Parts::default();
            // That of this hop, for there are servers that refuse another; the client's is in X-Forwarded-Proto.
            parts.scheme = Some(if protocol.has_tls() { Scheme::HTTPS } else { Scheme::HTTP });
            let authority = target.authority.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            parts.authority = Some(authority.unwrap_or_else(|| Authority::from_static("localhost")));
            parts.path_and_query = rewritten.or_else(|| request.uri().path_and_query().cloned());
            parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
            // All three are there, so it cannot fail.
            *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(header::HOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_authorities() {
        for (authority, expected) in [
            ("shop.local", Some("shop.local")),
            ("shop.local:8080", Some("shop.local")),
            ("[::1]:80", Some("[::1]")),
            ("[::1]", Some("[::1]")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("", Some("")),
            ("a:b", None),
            ("a:80:90", None),
            ("a b", None),
            ("a/b", None),
            ("user@a", None),
            ("[::1", None),
            ("[x]", None),
            ("a:123456", None),
            ("a,b", None),
        ] {
            assert_eq!(host(&HeaderValue::from_static(authority)), expected, "{authority}");
        }
    }
}
