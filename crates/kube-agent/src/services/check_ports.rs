//! The health check node ports of Services with `externalTrafficPolicy: Local`: a load balancer outside learns there how many endpoints
//! are on this node, and sends its clients to nodes that have some.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use hyper::StatusCode;
use model::{
    State,
    service::{Condition, NamespacedName, Place, Report, ServiceWish, Unready},
};
use proxy::plain_http::{self, Answer, JSON};
use serde_json::json;
use tokio::task::JoinHandle;

use super::{port, progress::Progress, refused};
use crate::{Shared, event::Kind};

/// The ports that are open, and those that should be.
pub struct CheckPorts<'a> {
    shared: &'a Arc<Shared>,
    progress: &'a Arc<Progress>,
    wanted: BTreeMap<NamespacedName, u16>,
    open: BTreeMap<NamespacedName, Open>,
    /// Those that somebody else has, of which that is told already.
    taken: BTreeSet<(NamespacedName, u16)>,
}

/// A port that is open; it closes when it is dropped.
struct Open {
    port: u16,
    task: JoinHandle<()>,
}

impl Open {
    /// Closes it, and returns when it is.
    async fn close(mut self) {
        self.task.abort();
        // It ends by that.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<'a> CheckPorts<'a> {
    /// None is open.
    pub fn new(shared: &'a Arc<Shared>, progress: &'a Arc<Progress>) -> Self {
        let (wanted, open, taken) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { shared, progress, wanted, open, taken }
    }

    /// Opens and closes them as the services have them.
    pub async fn follow(&mut self, report: &Report<ServiceWish>) {
        let puts = match report {
            Report::Changes { puts, removes } => {
                self.wanted.retain(|name, _| !removes.contains(name));
                puts
            }
            Report::All(all) => {
                self.wanted.clear();
                all
            }
        };
        for wish in puts {
            self.wanted.remove(&wish.name);
            self.wanted.extend(wish.health_check_port.map(|port| (wish.name.clone(), port)));
        }
        self.taken.retain(|(name, port)| self.wanted.get(name) == Some(port));
        // All that close are closed before any is opened: one service may have the port that another had.
        let is_wanted = |name: &NamespacedName, open: &Open| self.wanted.get(name) == Some(&open.port);
        let closing: Vec<_> = self.open.extract_if(.., |name, open| !is_wanted(name, open)).collect();
        for (_, open) in closing {
            open.close().await;
        }
        self.open_missing().await;
    }

    /// Whether somebody else has one of them.
    pub fn is_short(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Opens those that are not open yet.
    pub async fn open_missing(&mut self) {
        let opening = self.wanted.iter().filter(|(name, _)| !self.open.contains_key(*name));
        let opening: Vec<_> = opening.map(|(name, port)| (name.clone(), *port)).collect();
        for (name, port) in opening {
            match self.open(&name, port).await {
                Ok(open) => {
                    self.taken.remove(&(name.clone(), port));
                    self.open.insert(name, open);
                }
                Err(error) => {
                    if self.taken.insert((name.clone(), port)) {
                        port::cannot_be_had(port, &format!("the health check of service {name}"), &error);
                        self.tell(name, port);
                    }
                }
            }
        }
    }

    async fn open(&self, name: &NamespacedName, port: u16) -> io::Result<Open> {
        let listener = port::listen_everywhere(port).await?;
        let (shared, progress, name) = (Arc::clone(self.shared), Arc::clone(self.progress), name.clone());
        let answer = move |_: String| {
            std::future::ready(told(&name, local(&shared.engine.state(), &name), progress.is_healthy()))
        };
        Ok(Open { port, task: tokio::spawn(plain_http::serve(listener, answer)) })
    }

    /// Tells that somebody else has a port; everything else goes on.
    fn tell(&self, name: NamespacedName, port: u16) {
        let words = format!("node {} failed to start healthcheck \"{name}\" on port {port}", self.shared.node.name);
        let shared = Arc::clone(self.shared);
        // An API that does not answer must not keep services waiting.
        tokio::spawn(async move {
            refused::about(&shared, &name, Kind::Warning, "FailedToStartServiceHealthcheck", words).await;
        });
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
