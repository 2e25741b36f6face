//! The health check node ports of Services with `externalTrafficPolicy: Local`: a load balancer outside learns there how many endpoints
//! are on this node, and sends its clients to nodes that have some.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hyper::StatusCode;
use model::{
    State,
    service::{Condition, NamespacedName, Place, Report, ServiceWish, Unready},
};
use serde_json::json;
use tokio::task::AbortHandle;

use super::{progress::Progress, refused};
use crate::{
    Shared,
    event::Kind,
    plain_http::{self, Answer, JSON},
};

/// The ports that are open.
pub struct CheckPorts<'a> {
    shared: &'a Arc<Shared>,
    progress: &'a Arc<Progress>,
    open: BTreeMap<NamespacedName, Open>,
}

/// A port that is open; it closes when it is dropped.
struct Open {
    port: u16,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> CheckPorts<'a> {
    /// None is open.
    pub fn new(shared: &'a Arc<Shared>, progress: &'a Arc<Progress>) -> Self {
        Self { shared, progress, open: BTreeMap::new() }
    }

    /// Opens and closes them as the services have them.
    pub async fn follow(&mut self, report: &Report<ServiceWish>) {
        let puts = match report {
            Report::Changes { puts, removes } => {
                removes.iter().for_each(|name| drop(self.open.remove(name)));
                puts
            }
            Report::All(all) => {
                let here: BTreeSet<_> = all.iter().map(|wish| &wish.name).collect();
                self.open.retain(|name, _| here.contains(name));
                all
            }
        };
        for ServiceWish { name, health_check_port: wanted, .. } in puts {
            if self.open.get(name).map(|open| open.port) == *wanted {
                continue;
            }
            // The old one is free before the new one is opened.
            self.open.remove(name);
            if let Some(port) = *wanted
                && let Some(open) = self.open(name, port).await
            {
                self.open.insert(name.clone(), open);
            }
        }
    }

    /// Opens a port; one that somebody else has is told, and everything else goes on.
    async fn open(&self, name: &NamespacedName, port: u16) -> Option<Open> {
        let what = format!("the health check of service {name}");
        let Some(listener) = plain_http::listen_everywhere(port, &what).await else {
            let words = format!("node {} failed to start healthcheck \"{name}\" on port {port}", self.shared.node.name);
            let (shared, name) = (Arc::clone(self.shared), name.clone());
            // An API that does not answer must not keep services waiting.
            tokio::spawn(async move {
                refused::about(&shared, &name, Kind::Warning, "FailedToStartServiceHealthcheck", words).await;
            });
            return None;
        };
        let (shared, progress, name) = (Arc::clone(self.shared), Arc::clone(self.progress), name.clone());
        let answer = move |_: String| {
            std::future::ready(told(&name, local(&shared.engine.state(), &name), progress.is_healthy()))
        };
        Some(Open { port, task: tokio::spawn(plain_http::serve(listener, answer)).abort_handle() })
    }
}

fn told(service: &NamespacedName, local: usize, healthy: bool) -> Answer {
    let (namespace, name) = service.parts();
    let body = json!({
        "service": { "namespace": namespace, "name": name }, "localEndpoints": local, "serviceProxyHealthy": healthy,
    });
    let status = if local > 0 && healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::new(status, JSON, format!("{body:#}")).with("x-load-balancing-endpoint-weight", local.into())
}

/// How many endpoints of a service are on this node and ready. Those that are about to end are none of them, though they still serve:
/// clients are to go elsewhere.
fn local(state: &State, service: &NamespacedName) -> usize {
    let unready = state.services.get(service).is_some_and(|service| service.wish.unready == Unready::Served);
    let all = state.slices_of(service).flat_map(|slice| &slice.endpoints);
    let ready = all.filter(|end| end.place == Place::Here && (end.condition == Condition::Ready || unready));
    ready.map(|end| end.address).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_load_balancer_is_told() {
        for (local, healthy, status) in [(2, true, 200), (0, true, 503), (2, false, 503)] {
            let answer = told(&NamespacedName::new("shop", "web"), local, healthy);
            assert_eq!(answer.status.as_u16(), status, "{local} {healthy}");
            let body: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
            let service = json!({ "namespace": "shop", "name": "web" });
            let expected = json!({ "service": service, "localEndpoints": local, "serviceProxyHealthy": healthy });
            assert_eq!(body, expected);
        }
    }
}
