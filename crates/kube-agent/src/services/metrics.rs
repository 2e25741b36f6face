//! What kube-proxy counts, in Prometheus' text format at 127.0.0.1:10249: `/metrics`, and `/proxyMode`.

use std::{fmt::Write as _, net::Ipv4Addr, sync::Arc};

use hyper::StatusCode;
use jiff::Timestamp;
use model::{
    State,
    service::{FrontendKind, Service, Spread},
};
use proxy::plain_http::{self, Answer, JSON, TEXT};
use tokio::net::TcpListener;

use super::{
    port,
    progress::{Histogram, Numbers, Progress},
};
use crate::Shared;

const PORT: u16 = 10249;

/// Serves them to this host alone.
pub async fn serve(shared: &Arc<Shared>, progress: &Arc<Progress>) {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
        Ok(listener) => listener,
        Err(error) => return port::cannot_be_had(PORT, "metrics of services", &error),
    };
    let (shared, progress) = (Arc::clone(shared), Arc::clone(progress));
    let answer = move |path: String| {
        let answer = match path.as_str() {
            "/metrics" => Answer::new(StatusCode::OK, TEXT, text(&progress.numbers(), &shared.engine.state())),
            "/proxyMode" => Answer::new(StatusCode::OK, TEXT, "nftables".to_owned()),
            "/healthz" => Answer::new(StatusCode::OK, TEXT, "ok".to_owned()),
            "/configz" => Answer::new(StatusCode::OK, JSON, CONFIG.to_owned()),
            _ => Answer::not_found(),
        };
        std::future::ready(answer)
    };
    plain_http::serve(listener, answer).await;
}

/// What is asked of kube-proxy's configuration by tools.
const CONFIG: &str = r#"{"kubeproxy.config.k8s.io":{"mode":"nftables"}}"#;

fn text(numbers: &Numbers, state: &State) -> String {
    let mut text = String::new();
    let seconds = |at: Option<Timestamp>| at.map_or(0.0, |at| at.as_duration().as_secs_f64());
    let sync = "sync_proxy_rules";
    histogram(&mut text, &format!("{sync}_duration_seconds"), "SyncProxyRules latency in seconds", &numbers.syncs);
    let programming = "In Cluster Network Programming Latency in seconds";
    histogram(&mut text, "network_programming_duration_seconds", programming, &numbers.programming);
    let mut plain = |name: &str, kind: &str, help: &str, values: &[(&str, f64)]| {
        head(&mut text, name, kind, help);
        for (labels, value) in values {
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "kubeproxy_{name}{labels} {value}");
        }
    };
    let count = |n: u64| n as f64;
    for (of, name, changes) in [("Service", "service", numbers.services), ("Endpoint", "endpoint", numbers.endpoints)] {
        let total = format!("Cumulative proxy rules {of} changes");
        plain(&format!("{sync}_{name}_changes_total"), "counter", &total, &[("", count(changes.total))]);
        let pending = format!("Pending proxy rules {of} changes");
        plain(&format!("{sync}_{name}_changes_pending"), "gauge", &pending, &[("", count(changes.pending))]);
    }
    let last = "The last time proxy rules were successfully synced";
    plain(&format!("{sync}_last_timestamp_seconds"), "gauge", last, &[("", seconds(numbers.last_sync))]);
    let queued = "The last time a sync of proxy rules was queued";
    plain(&format!("{sync}_last_queued_timestamp_seconds"), "gauge", queued, &[("", seconds(numbers.last_queued))]);
    let failures = "Cumulative proxy nftables sync failures";
    plain(&format!("{sync}_nftables_sync_failures_total"), "counter", failures, &[("", count(numbers.failures))]);
    let [internal, external] = without_local(state);
    let local =
        [(r#"{traffic_policy="internal"}"#, count(internal)), (r#"{traffic_policy="external"}"#, count(external))];
    let help = "Number of services with a Local traffic policy and no endpoints";
    plain(&format!("{sync}_no_local_endpoints_total"), "gauge", help, &local);
    for (name, answers) in [("healthz", numbers.healthz), ("livez", numbers.livez)] {
        let values = [(r#"{code="200"}"#, count(answers[0])), (r#"{code="503"}"#, count(answers[1]))];
        plain(&format!("proxy_{name}_total"), "counter", &format!("Cumulative proxy {name} HTTP status"), &values);
    }
    text
}

/// How many services drop those who ask from inside, and from outside, because nobody of this node serves.
fn without_local(state: &State) -> [u64; 2] {
    let dropped = |service: &Service, inside: bool| {
        let mut frontends = service.led();
        frontends.any(|frontend| {
            (frontend.kind == FrontendKind::Cluster) == inside && service.at(frontend).1 == Spread::Dropped
        })
    };
    [true, false].map(|inside| state.services.values().filter(|service| dropped(service, inside)).count() as u64)
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP kubeproxy_{name} {help}\n# TYPE kubeproxy_{name} {kind}");
}

fn histogram(text: &mut String, name: &str, help: &str, of: &Histogram) {
    head(text, name, "histogram", help);
    let mut so_far = 0;
    for (bound, count) in &of.buckets {
        so_far += count;
        let _ = writeln!(text, "kubeproxy_{name}_bucket{{le=\"{bound}\"}} {so_far}");
    }
    let _ = writeln!(text, "kubeproxy_{name}_bucket{{le=\"+Inf\"}} {}", of.count);
    let _ = writeln!(text, "kubeproxy_{name}_sum {}\nkubeproxy_{name}_count {}", of.sum, of.count);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_numbers_have_their_names() {
        let progress = Progress::default();
        progress.queued(1, 2);
        progress.done(Duration::from_millis(3), &[]);
        progress.answered(|numbers| &mut numbers.healthz, false);
        let text = text(&progress.numbers(), &State::default());
        for line in [
            "# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.002\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"0.004\"} 1",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"+Inf\"} 1",
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"external\"} 0",
            "kubeproxy_proxy_healthz_total{code=\"503\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
