//! Header fields: those that end at the gateway, and those that it adds.

use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Fields for the next hop alone, besides those that `Connection` names.
const OF_A_HOP: [HeaderName; 6] =
    [header::UPGRADE, header::TE, header::TRANSFER_ENCODING, HTTP2_SETTINGS, KEEP_ALIVE, PROXY_CONNECTION];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What the gateway tells backends about a client's connection. Made once per connection.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub ip: HeaderValue,
    pub port: HeaderValue,
    pub scheme: &'static str,
}

/// Removes the fields that are for the next hop alone (RFC 9110, 7.6.1), among them those that `Connection` names. Returns the protocol
/// of an upgrade that was asked for or granted; HTTP/2 is none, since its requests would pass through the tunnel unseen by any rule.
pub(super) fn end_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    let mut upgrade = None;
    // Most requests have none of these, and looking costs less than removing.
    if !headers.keys().any(|name| name == header::CONNECTION || OF_A_HOP.contains(name)) {
        return None;
    }
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<_> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            // No field.
            .filter(|name| !name.eq_ignore_ascii_case("close"))
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        if named.contains(&header::UPGRADE) && !headers.get_all(header::UPGRADE).iter().any(names_http2) {
            upgrade = headers.get(header::UPGRADE).cloned();
        }
        for name in named {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    if headers.keys().any(|name| OF_A_HOP.contains(name)) {
        for name in OF_A_HOP {
            headers.remove(name);
        }
    }
    upgrade
}

/// Whether one of the protocols of an `Upgrade` is HTTP/2 in the clear (RFC 7540, 3.2).
fn names_http2(protocols: &HeaderValue) -> bool {
    protocols.as_bytes().split(|octet| *octet == b',').any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"))
}

/// Asks for an upgrade on this hop, or grants it.
pub(super) fn upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Tells the backend who asked, and as what. `X-Forwarded-For` keeps what earlier proxies said; the rest is ours alone, and a
/// `Forwarded` (RFC 7239) that a client made up is not left to be believed.
pub(super) fn forward(headers: &mut HeaderMap, origin: &Origin, host: &HeaderValue) {
    headers.reserve(6);
    let chain = match headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>()[..] {
        [] => origin.ip.clone(),
        ref before => {
            let all: Vec<_> = before.iter().map(|value| value.as_bytes()).chain([origin.ip.as_bytes()]).collect();
            // Joined of values with a separator that values may have.
            HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| origin.ip.clone())
        }
    };
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.scheme));
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(FORWARDED_PORT, origin.port.clone());
    headers.insert(REAL_IP, origin.ip.clone());
    headers.remove(header::FORWARDED);
}

/// HTTP/2 clients may split cookies into many fields; HTTP/1.1 has one (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields are written one a line.
    fn read(text: &str) -> HeaderMap {
        let field = |line: &str| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        text.lines().map(|line| field(line.trim())).collect()
    }

    fn write(headers: &HeaderMap) -> String {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn what_is_for_one_hop_ends() {
        for (fields, expected, upgrade) in [
            ("host: a\naccept: b", "accept: b\nhost: a", None),
            ("connection: close, X-Own\nx-own: 1\nother: 2", "other: 2", None),
            ("connection: close\nconnection: x-own\nx-own: 1\nx-own: 2", "", None),
            ("connection: keep-alive, Upgrade\nupgrade: websocket\nkeep-alive: 5", "", Some("websocket")),
            ("connection: Upgrade\nupgrade: websocket, H2C", "", None),
            ("connection: Upgrade\nupgrade: websocket\nupgrade: h2c", "", None),
            ("http2-settings: AAMAAABk\nother: 2", "other: 2", None),
            (
                "upgrade: h2c\nte: trailers\nproxy-connection: close\ntransfer-encoding: chunked\ntrailer: x",
                "trailer: x",
                None,
            ),
        ] {
            let mut headers = read(fields);
            let found = end_hop(&mut headers);
            assert_eq!(write(&headers), expected);
            assert_eq!(found.as_ref().and_then(|value| value.to_str().ok()), upgrade, "{fields}");
        }
    }

    #[test]
    fn who_asked() {
        let value = |text: &str| text.parse::<HeaderValue>().expect("a value");
        let origin = Origin { ip: value("192.0.2.1"), port: value("443"), scheme: "https" };
        let ours = "x-forwarded-host: shop\nx-forwarded-port: 443\nx-forwarded-proto: https\nx-real-ip: 192.0.2.1";
        for (fields, chain) in [
            ("x-real-ip: 1.1.1.1\nforwarded: for=1.1.1.1\nx-forwarded-proto: gopher", "192.0.2.1"),
            ("x-forwarded-for: 10.0.0.1", "10.0.0.1, 192.0.2.1"),
            (
                "x-forwarded-for: 10.0.0.1, 10.0.0.2\nx-forwarded-for: 10.0.0.3",
                "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.1",
            ),
        ] {
            let mut headers = read(fields);
            forward(&mut headers, &origin, &value("shop"));
            assert_eq!(write(&headers), format!("x-forwarded-for: {chain}\n{ours}"));
        }
    }

    #[test]
    fn cookies_are_one_field() {
        let mut headers = read("cookie: a=1\ncookie: b=2");
        join_cookies(&mut headers);
        assert_eq!(write(&headers), "cookie: a=1; b=2");
    }
}
