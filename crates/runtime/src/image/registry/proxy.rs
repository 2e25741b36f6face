//! HTTP proxies between here and registries: which one a request passes. The rules are those of Go's `net/http`, which are dockerd's
//! (pkg.go.dev/golang.org/x/net/http/httpproxy): loopback is never asked through a proxy.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::Uri;
use hyper::header::HeaderValue;

use super::auth::percent_decode;
use super::endpoint::network_has;

/// The proxies that the daemon was told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For plain HTTP: `http://user:password@proxy.example:3128`, or without all but the host.
    pub http: String,
    /// For HTTPS, through which it goes encrypted.
    pub https: String,
    /// What is asked without: `example.com` (and all below), `.example.com` (only what is below), `10.0.0.0/8`, `192.0.2.1`, each maybe
    /// with a port, or `*`; separated by commas.
    pub exceptions: String,
}

/// A proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    /// `http://host:port/`
    pub(super) uri: Uri,
    /// The `Proxy-Authorization` that it wants.
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxies {
    /// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say, or the same names in small letters.
    pub fn from_env() -> Proxies {
        let read = |name: &str| {
            let found = [name.to_owned(), name.to_lowercase()].into_iter().find_map(|name| std::env::var(name).ok());
            found.unwrap_or_default()
        };
        Proxies { http: read("HTTP_PROXY"), https: read("HTTPS_PROXY"), exceptions: read("NO_PROXY") }
    }

    /// The proxy on the way to this address, if there is one. An error says what is wrong with it.
    pub(super) fn of(&self, url: &Uri) -> Result<Option<Proxy>, String> {
        let (text, port) = match url.scheme_str() {
            Some("https") => (&self.https, 443),
            _ => (&self.http, 80),
        };
        let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_lowercase();
        if text.is_empty() || self.excepts(&host, url.port_u16().unwrap_or(port)) {
            return Ok(None);
        }
        Proxy::parse(text).map(Some)
    }

    fn excepts(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        host == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self.exceptions.split(',').any(|rule| is_excepted(&rule.trim().to_lowercase(), host, address, port))
    }
}

fn is_excepted(rule: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if rule == "*" {
        return true;
    }
    if let (true, Some(address)) = (rule.contains('/'), address) {
        return network_has(rule, address);
    }
    // What has more than one colon is an IPv6 address, unless brackets say where it ends.
    let (name, wanted_port) = match rule.rsplit_once(':') {
        Some((name, number)) if name.ends_with(']') || !name.contains(':') => (name, number.parse::<u16>().ok()),
        _ => (rule, None),
    };
    if wanted_port.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(wanted) = name.parse::<IpAddr>() {
        return address == Some(wanted);
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        Some(parent) => is_below(host, parent),
        None => !name.is_empty() && (host == name || is_below(host, name)),
    }
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

impl Proxy {
    fn parse(text: &str) -> Result<Proxy, String> {
        let refuse = |why: &str| {
            let shown = text.rsplit('@').next().unwrap_or_default();
            Err(format!("the proxy {shown:?} that the daemon's environment names cannot be used: {why}"))
        };
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if scheme != "http" {
            return refuse("its address must begin with http://");
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let (who, place) = authority.rsplit_once('@').map_or((None, authority), |(who, place)| (Some(who), place));
        let has_port = place.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) && place.contains(':');
        let port = if has_port { "" } else { ":80" };
        let uri = format!("http://{place}{port}/").parse::<Uri>();
        let Some(uri) = uri.ok().filter(|_| !place.is_empty()) else {
            return refuse("it is no address");
        };
        let authorization = who.map(|who| {
            let encoded = BASE64_STANDARD.encode(percent_decode(who));
            HeaderValue::from_str(&format!("Basic {encoded}"))
        });
        match authorization.transpose() {
            Ok(authorization) => Ok(Proxy { uri, authorization }),
            Err(_) => refuse("its credentials cannot be sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_chosen_as_go_does() {
        let proxies = Proxies {
            http: "proxy.example".to_owned(),
            https: "http://me:p%40ss@secure.example:3128/".to_owned(),
            exceptions: " direct.example,.below.example , *.star.example,10.0.0.0/8,192.0.2.7,ports.example:5000,[fd00::7]:80,fd00::8"
                .to_owned(),
        };
        let check = |url: &str, expected: Option<&str>| {
            let found = proxies.of(&url.parse().unwrap()).unwrap();
            assert_eq!(found.map(|proxy| proxy.uri.to_string()).as_deref(), expected, "{url}");
        };
        let (plain, secure) = (Some("http://proxy.example:80/"), Some("http://secure.example:3128/"));
        check("http://registry.example/v2/", plain);
        check("https://registry.example/v2/", secure);
        for local in ["http://localhost:5000/", "https://127.9.9.9/", "http://[::1]:5000/"] {
            check(local, None);
        }
        check("https://direct.example/", None);
        check("https://www.Direct.example/", None);
        check("https://indirect.example/", secure);
        check("https://below.example/", secure);
        check("https://www.below.example/", None);
        check("https://star.example/", secure);
        check("https://www.star.example/", None);
        check("https://10.2.3.4/", None);
        check("https://11.2.3.4/", secure);
        check("https://192.0.2.7/", None);
        check("https://ports.example:5000/", None);
        check("https://ports.example/", secure);
        check("http://[fd00::7]/", None);
        check("https://[fd00::7]/", secure);
        check("https://[fd00::8]/", None);
        let all = Proxies { exceptions: "*".to_owned(), ..proxies.clone() };
        assert_eq!(all.of(&"https://registry.example/".parse().unwrap()), Ok(None));
        let proxy = proxies.of(&"https://registry.example/".parse().unwrap()).unwrap().unwrap();
        assert_eq!(proxy.authorization.unwrap(), format!("Basic {}", BASE64_STANDARD.encode("me:p@ss")));
    }

    #[test]
    fn proxies_of_other_kinds_are_refused() {
        for (text, words) in [
            (
                "socks5://me:secret@proxy.example",
                "\"proxy.example\" that the daemon's environment names cannot be used: its address must begin with http://",
            ),
            ("http://", "it is no address"),
            ("http://a b", "it is no address"),
        ] {
            let proxies = Proxies { http: text.to_owned(), ..Proxies::default() };
            let refused = proxies.of(&"http://registry.example/".parse().unwrap()).unwrap_err();
            assert!(refused.contains(words) && !refused.contains("secret"), "{refused}");
        }
    }
}
