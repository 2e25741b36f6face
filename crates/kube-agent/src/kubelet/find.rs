//! The containers that a request means.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use model::{Container, State, container::Phase};

use super::{Desk, Refusal};
use crate::{
    identity::{self, label},
    pod::spec,
};

/// Namespace, pod and container.
pub type Named<'a> = (&'a str, &'a str, &'a str);

/// The pod of this name.
pub fn pod(desk: &Desk, namespace: &str, name: &str) -> Result<Arc<Pod>, Refusal> {
    let missing = || Refusal::missing(format!("pod \"{name}_{namespace}\" does not exist"));
    desk.known.find(namespace, name).ok_or_else(missing)
}

/// The containers that were made for a container of a pod, the oldest first.
pub fn attempts(state: &State, pod: &Pod, container: &str) -> Vec<Arc<Container>> {
    let (_, _, uid) = spec::names(pod);
    let is_it = |found: &&Arc<Container>| found.labels.get(label::CONTAINER).is_some_and(|name| name == container);
    let mut found: Vec<_> = state.residents_of(&identity::sandbox(&uid)).filter(is_it).cloned().collect();
    found.sort_by_key(|found| found.labels.get(label::NUMBER).and_then(|number| number.parse::<u32>().ok()));
    found
}

/// The container of a pod that runs now.
pub fn running(desk: &Desk, (namespace, name, container): Named<'_>) -> Result<Arc<Container>, Refusal> {
    let pod = pod(desk, namespace, name)?;
    let state = desk.shared.engine.state();
    let found = attempts(&state, &pod, container).pop();
    let runs = found.filter(|found| matches!(found.phase, Phase::Running(_) | Phase::Paused(_)));
    runs.ok_or_else(|| Refusal::missing(format!("container not found (\"{container}\")")))
}
