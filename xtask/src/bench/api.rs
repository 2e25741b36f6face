//! A client of the Docker Engine API: one request on a connection of its own, as the docker command does it.

use std::{
    fmt::Display,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use serde_json::Value;

use crate::run::Result;

/// Debian's Docker Engine speaks at most this one.
const VERSION: &str = "/v1.41";

/// The longest an engine may take for one answer.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where an engine answers.
#[derive(Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API on this socket.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks, and gives the answer's JSON (null when it has none); a body is what writes itself as JSON, and an answer of 400 and more is an error with the engine's words.
    pub fn ask(&self, method: &str, path: &str, body: Option<&dyn Display>) -> Result<Value> {
        let answer = self.exchange(method, path, body)?;
        if answer.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&answer).map_err(|e| format!("{method} {path}: {e}"))
        }
    }

    /// Asks for something to be done; the answer's words are of no use.
    pub fn tell(&self, method: &str, path: &str, body: Option<&dyn Display>) -> Result<()> {
        self.exchange(method, path, body).map(drop)
    }

    /// Asks, and gives the answer's bytes, up to the end of the connection.
    pub fn exchange(&self, method: &str, path: &str, body: Option<&dyn Display>) -> Result<Vec<u8>> {
        let failed = |e: std::io::Error| format!("{method} {path}: {e}");
        let mut stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let body = body.map(ToString::to_string).unwrap_or_default();
        let head = format!(
            "{method} {VERSION}{path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).map_err(failed)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failed)?;
        let (status, body) = parse(&answer).ok_or_else(|| format!("{method} {path}: not an answer in HTTP/1.1"))?;
        if status < 400 { Ok(body) } else { Err(format!("{method} {path}: {status} {}", message(&body))) }
    }
}

/// The status and the body, with chunks put together.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    if head.contains("\r\ntransfer-encoding: chunked") {
        Some((status, dechunk(body)?))
    } else {
        Some((status, body.to_owned()))
    }
}

fn dechunk(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?.trim(), 16).ok()?;
        let rest = &chunks[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        chunks = rest.get(size + 2..)?;
    }
}

fn message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let words = json.as_ref().and_then(|json| json["message"].as_str());
    words.map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let check = |answer: &str, expected: Option<(u16, &str)>| {
            assert_eq!(
                parse(answer.as_bytes()),
                expected.map(|(status, body)| (status, body.as_bytes().to_vec())),
                "{answer:?}"
            );
        };
        check("HTTP/1.1 204 No Content\r\n\r\n", Some((204, "")));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", Some((200, "OK")));
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n",
            Some((200, "abc0123456789")),
        );
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", None);
        check("nonsense", None);
    }
}
