//! Whether services are served here, at kube-proxy's port 10256: `/healthz` for load balancers outside, which leave a node that is about to
//! go too, and `/livez`.

use std::{sync::Arc, time::Duration};

use hyper::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use kube::Api;

use super::progress::Progress;
use crate::{
    Shared,
    plain_http::{self, Answer, JSON},
};

const PORT: u16 = 10256;
/// The cluster's autoscaler is about to remove the node.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// How long the API may take to say whether it is. A node that cannot be asked about stays.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves it to everybody.
pub async fn serve(shared: &Arc<Shared>, progress: &Arc<Progress>) {
    let Some(listener) = plain_http::listen_everywhere(PORT, "the health of services").await else { return };
    let (shared, progress) = (Arc::clone(shared), Arc::clone(progress));
    let answer = move |path: String| {
        let (shared, progress) = (Arc::clone(&shared), Arc::clone(&progress));
        async move {
            match path.as_str() {
                "/healthz" => {
                    let (healthy, eligible) = (progress.is_healthy(), is_eligible(&shared).await);
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
        }
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

async fn is_eligible(shared: &Shared) -> bool {
    let nodes: Api<core::Node> = Api::all(shared.client.clone());
    let Ok(Ok(Some(node))) = tokio::time::timeout(PATIENCE, nodes.get_opt(&shared.node.name)).await else {
        return true;
    };
    let taints = node.spec.into_iter().flat_map(|spec| spec.taints.unwrap_or_default());
    node.metadata.deletion_timestamp.is_none() && !taints.into_iter().any(|taint| taint.key == TO_BE_DELETED)
}
