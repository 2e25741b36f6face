//! Whether services are served here, at kube-proxy's port 10256: `/healthz` for load balancers outside, which leave a node that is about to
//! go too, and `/livez`.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use hyper::StatusCode;
use jiff::Timestamp;
use proxy::plain_http::{self, Answer, JSON};

use super::{port, progress::Progress};
use crate::Shared;

const PORT: u16 = 10256;

/// Serves it to everybody.
pub async fn serve(shared: &Arc<Shared>, progress: &Arc<Progress>) {
    let listener = match port::listen_everywhere(PORT).await {
        Ok(listener) => listener,
        Err(error) => return port::cannot_be_had(PORT, "the health of services", &error),
    };
    let (shared, progress) = (Arc::clone(shared), Arc::clone(progress));
    let answer = move |path: String| {
        std::future::ready({
            match path.as_str() {
                "/healthz" => {
                    let (healthy, eligible) = (progress.is_healthy(), !shared.is_leaving.load(Relaxed));
                    progress.answered(|numbers| &mut numbers.healthz, healthy && eligible);
                    told(&progress, healthy && eligible, &format!(", \"nodeEligible\": {eligible}"))
                }
                "/livez" => {
                    let healthy = progress.is_healthy();
                    progress.answered(|numbers| &mut numbers.livez, healthy);
                    told(&progress, healthy, "")
                }
                _ => Answer::not_found(),
            }
        })
    };
    plain_http::serve(listener, answer).await;
}

/// Who is healthy was so a moment ago.
fn told(progress: &Progress, healthy: bool, more: &str) -> Answer {
    let now = Timestamp::now();
    let updated = if healthy { now } else { progress.numbers().last_sync.unwrap_or(Timestamp::UNIX_EPOCH) };
    let text = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC").to_string();
    let body = format!("{{\"lastUpdated\": {:?},\"currentTime\": {:?}{more}}}", text(updated), text(now));
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::new(status, JSON, body)
}
