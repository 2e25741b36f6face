//! The port for operators: `/metrics`, `/healthz`, `/readyz`.

use std::{
    fmt::Write,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::StatusCode;
use tokio::net::TcpListener;

use super::counters::{BUCKETS, Counter, Counters};
use crate::plain_http::{self, Answer, TEXT};

/// Everything that a gateway counts.
#[derive(Debug, Clone)]
pub struct Metrics(pub(super) Vec<Arc<Counters>>);

/// Serves the port for ever. `ready` says whether clients should be sent here.
///
/// # Errors
/// When the socket cannot be registered with the event loop.
pub async fn serve(listener: std::net::TcpListener, metrics: Metrics, ready: Arc<AtomicBool>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let answer = move |path: String| std::future::ready(answer(&path, &metrics, ready.load(Ordering::Relaxed)));
    plain_http::serve(listener, answer).await;
    Ok(())
}

fn answer(path: &str, metrics: &Metrics, ready: bool) -> Answer {
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if ready => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready: no table yet, or on the way out\n".to_owned()),
        "/metrics" => (StatusCode::OK, metrics.text()),
        _ => (StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz\n".to_owned()),
    };
    Answer::new(status, TEXT, text)
}

impl Metrics {
    fn sum(&self, of: impl Fn(&Counters) -> &Counter) -> i64 {
        self.0.iter().map(|counters| of(counters).get()).sum()
    }

    /// In Prometheus' text format.
    pub fn text(&self) -> String {
        type Of = fn(&Counters) -> &Counter;
        let plain: [(&str, &str, &str, Of); 9] = [
            ("connections_total", "counter", "Connections accepted.", |c| &c.connections),
            ("connections", "gauge", "Connections of clients that are open.", |c| &c.open),
            ("connections_not_begun_total", "counter", "Connections that ended before HTTP began.", |c| &c.not_begun),
            ("slow_clients_total", "counter", "Connections ended because the client was slow.", |c| &c.slow),
            ("requests_under_way", "gauge", "Requests whose answer has not ended.", |c| &c.under_way),
            ("refused_total", "counter", "Requests answered by the gateway itself.", |c| &c.refused),
            ("retries_total", "counter", "Requests sent again to an endpoint.", |c| &c.retries),
            ("endpoint_connects_total", "counter", "Connections opened to endpoints.", |c| &c.connects),
            ("endpoint_connects_failed_total", "counter", "Of those, not accepted.", |c| &c.connects_failed),
        ];
        let mut text = String::new();
        for (name, kind, help, of) in plain {
            head(&mut text, name, kind, help);
            line(&mut text, name, "", self.sum(of));
        }
        head(&mut text, "tunnels", "gauge", "Upgraded connections that are open.");
        line(&mut text, "tunnels", "", self.sum(|c| &c.tunnels));
        head(&mut text, "requests_total", "counter", "Requests, by the class of their status.");
        for class in 1..=5 {
            line(&mut text, "requests_total", &format!("{{code=\"{class}xx\"}}"), self.sum(|c| &c.requests[class]));
        }
        head(&mut text, "request_duration_seconds", "histogram", "From a request's header to the end of its answer.");
        let mut below = 0;
        for (index, bound) in BUCKETS.iter().map(Some).chain([None]).enumerate() {
            below += self.sum(|c| &c.took[index]);
            let le = bound.map_or("+Inf".to_owned(), |ms| format!("{}.{:03}", ms / 1000, ms % 1000));
            line(&mut text, "request_duration_seconds_bucket", &format!("{{le=\"{le}\"}}"), below);
        }
        let us = self.sum(|c| &c.took_us);
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "linkspan_gateway_request_duration_seconds_sum {}.{:06}", us / 1_000_000, us % 1_000_000);
        line(&mut text, "request_duration_seconds_count", "", below);
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "# HELP linkspan_gateway_{name} {help}\n# TYPE linkspan_gateway_{name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &str, value: i64) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "linkspan_gateway_{name}{labels} {value}");
}
