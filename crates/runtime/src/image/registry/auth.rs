//! How a registry says who may come in: `WWW-Authenticate` challenges (RFC 9110 section 11.6.1) and the token answer of
//! the Docker registry token specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credentials;

/// What a registry wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

/// A token server's answer; it uses one name or the other.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl TokenAnswer {
    pub(super) fn into_token(self) -> Option<String> {
        [self.token, self.access_token].into_iter().find(|token| !token.is_empty())
    }
}

/// The value of an `Authorization` header for name and password.
pub(super) fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credentials.username, credentials.password)))
}

/// Where to fetch a token.
pub(super) fn token_url(realm: &str, service: &str, scopes: &[String], account: &str) -> String {
    let pairs = [("service", service), ("account", account)];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let query: Vec<String> = pairs
        .chain(scopes.iter().map(|scope| ("scope", scope.as_str())))
        .map(|(key, value)| format!("{key}={}", percent_encode(value)))
        .collect();
    let separator = if realm.contains('?') { '&' } else { '?' };
    format!("{realm}{separator}{}", query.join("&"))
}

/// The form that turns a refresh token into an access token.
pub(super) fn refresh_form(service: &str, scopes: &[String], identity_token: &str) -> String {
    format!(
        "grant_type=refresh_token&client_id=linkspan&service={}&scope={}&refresh_token={}",
        percent_encode(service),
        percent_encode(&scopes.join(" ")),
        percent_encode(identity_token)
    )
}

/// The first challenge that can be met.
pub(super) fn challenge<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for header in headers {
        let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let parameters = parse_parameters(parameters);
        let find = |key: &str| parameters.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
        match (scheme.to_ascii_lowercase().as_str(), find("realm")) {
            ("bearer", Some(realm)) => {
                return Some(Challenge::Bearer { realm, service: find("service").unwrap_or_default() });
            }
            ("basic", _) => basic = Some(Challenge::Basic),
            _ => {}
        }
    }
    basic
}

/// `key="value",key=value`, with backslashes in quotes.
fn parse_parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let mut value = String::new();
        let mut chars = after.chars();
        if after.starts_with('"') {
            chars.next();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => value.extend(chars.next()),
                    c => value.push(c),
                }
            }
            rest = chars.as_str();
        } else {
            let (bare, after) = after.split_once(',').unwrap_or((after, ""));
            value.push_str(bare.trim());
            rest = after;
        }
        parameters.push((key.trim().to_ascii_lowercase(), value));
        rest = rest.trim_start_matches([' ', ',']);
    }
    parameters
}

pub(super) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Undoes `%40`; what is no such escape stays as it is.
pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(*first);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_are_read() {
        let check =
            |headers: &[&str], expected| assert_eq!(challenge(headers.iter().copied()), expected, "{headers:?}");
        let bearer = |realm: &str, service: &str| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned() })
        };
        check(&[r#"Bearer realm="https://a/t",service="s",scope="repository:x:pull""#], bearer("https://a/t", "s"));
        check(&[r#"bearer  service=s , realm="a\"b""#], bearer("a\"b", "s"));
        check(&["Basic realm=x", r#"Bearer realm="y""#], bearer("y", ""));
        check(&[r#"Basic realm="x""#], Some(Challenge::Basic));
        check(&["Bearer", "Digest realm=x", "", "Bearer realm"], None);
    }

    #[test]
    fn token_requests_are_encoded() {
        let scopes = ["repository:a/b:pull".to_owned()];
        assert_eq!(
            token_url("https://t/x", "a b", &scopes, "me"),
            "https://t/x?service=a%20b&account=me&scope=repository%3Aa%2Fb%3Apull"
        );
    }

    proptest! {
        #[test]
        fn any_challenge_is_read_or_ignored(header in "\\PC{0,60}|[Bbearsic =,\"\\\\]{0,60}") {
            challenge([header.as_str()].into_iter());
        }
    }
}
