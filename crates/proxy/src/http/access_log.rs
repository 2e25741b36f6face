//! A line of JSON for each request, written by a thread of its own: who reads it slowly does not slow requests, but loses lines.

use std::{
    io::{self, BufWriter, Write},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where lines go.
pub(super) type Lines = SyncSender<Line>;

/// Lines that wait to be written.
const WAITING: usize = 4096;

/// One request.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub client: String,
    pub method: String,
    pub host: String,
    pub path: String,
    pub http2: bool,
    pub tls: bool,
    pub backend: String,
    pub endpoint: Option<std::net::SocketAddr>,
    pub status: u16,
    pub octets: u64,
    pub took: Duration,
    /// Why the gateway answered by itself.
    pub cause: String,
}

/// Starts the thread that writes to standard output.
pub(super) fn start() -> io::Result<Lines> {
    let (lines, received) = sync_channel(WAITING);
    thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&received, io::stdout()))?;
    Ok(lines)
}

fn write(lines: &Receiver<Line>, out: impl Write) {
    let mut out = BufWriter::new(out);
    while let Ok(line) = lines.recv() {
        // What has come meanwhile is written at once. When nobody reads any more there is nothing to be done.
        let mut next = Some(line);
        while let Some(line) = next {
            let _ = writeln!(out, "{}", line.json());
            next = lines.try_recv().ok();
        }
        let _ = out.flush();
    }
}

impl Line {
    fn json(&self) -> String {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let endpoint = self.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default();
        let mut line = format!("{{\"time\":{}.{:03}", time.as_secs(), time.subsec_millis());
        let version = if self.http2 { "2" } else { "1.1" };
        for (name, value) in [
            ("client", &*self.client),
            ("method", &self.method),
            ("host", &self.host),
            ("path", &self.path),
            ("http", version),
            ("scheme", if self.tls { "https" } else { "http" }),
            ("backend", &self.backend),
            ("endpoint", &endpoint),
            ("cause", &self.cause),
        ] {
            line.push_str(&format!(",\"{name}\":\""));
            escape(value, &mut line);
            line.push('"');
        }
        let took = self.took.as_micros();
        line + &format!(",\"status\":{},\"octets\":{},\"took_us\":{took}}}", self.status, self.octets)
    }
}

/// RFC 8259, 7.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => into.extend(['\\', c]),
            c if u32::from(c) < 0x20 => into.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json() {
        let line = Line { path: "/\"\\\n".to_owned(), status: 200, http2: true, ..Line::default() }.json();
        assert!(line.starts_with("{\"time\":") && line.contains(r#""path":"/\"\\\u000a","http":"2""#), "{line}");
        assert!(line.ends_with(r#""status":200,"octets":0,"took_us":0}"#), "{line}");
    }
}
