//! Finding what a path or a body names: by full id, by name, by the start of an id that fits only one.

use std::sync::Arc;

use model::{Container, ContainerId, Endpoint, Network, NetworkId, Sandbox, State, Volume};

use crate::ApiError;

/// A container. Its name may have the leading slash that Docker gives it.
pub(crate) fn container<'a>(state: &'a State, reference: &str) -> Result<&'a Arc<Container>, ApiError> {
    let missing = || ApiError::not_found(format!("No such container: {reference}"));
    if let Some(found) = reference.parse().ok().and_then(|id: ContainerId| state.containers.get(&id)) {
        return Ok(found);
    }
    let name = reference.strip_prefix('/').unwrap_or(reference);
    if let Some(found) = state.container_names.get(name).and_then(|id| state.containers.get(id)) {
        return Ok(found);
    }
    let first: ContainerId = first_id(reference).ok_or_else(missing)?;
    let mut fitting = state.containers.range(first..).take_while(|(id, _)| id.as_str().starts_with(reference));
    match (fitting.next(), fitting.next()) {
        (None, _) => Err(missing()),
        (Some((_, found)), None) => Ok(found),
        _ => Err(ApiError::invalid(format!("multiple IDs found with provided prefix: {reference}"))),
    }
}

/// A network.
pub(crate) fn network<'a>(state: &'a State, reference: &str) -> Result<&'a Arc<Network>, ApiError> {
    let missing = || ApiError::not_found(format!("network {reference} not found"));
    if let Some(found) = reference.parse().ok().and_then(|id: NetworkId| state.networks.get(&id)) {
        return Ok(found);
    }
    if let Some(found) = state.network_names.get(reference).and_then(|id| state.networks.get(id)) {
        return Ok(found);
    }
    let first: NetworkId = first_id(reference).ok_or_else(missing)?;
    let fitting: Vec<_> =
        state.networks.range(first..).take_while(|(id, _)| id.as_str().starts_with(reference)).collect();
    match fitting.as_slice() {
        [] => Err(missing()),
        [(_, found)] => Ok(found),
        several => Err(ApiError::invalid(format!(
            "network {reference} is ambiguous ({} matches found based on ID prefix)",
            several.len()
        ))),
    }
}

/// A volume, by its name.
pub(crate) fn volume<'a>(state: &'a State, name: &str) -> Result<&'a Arc<Volume>, ApiError> {
    state.volumes.get(name).ok_or_else(|| ApiError::not_found(format!("get {name}: no such volume")))
}

/// A container's sandbox; none only while it is being removed.
pub(crate) fn sandbox<'a>(state: &'a State, container: &Container) -> Option<&'a Arc<Sandbox>> {
    state.sandboxes.get(&container.sandbox)
}

/// The endpoints of a container's sandbox, with their networks.
pub(crate) fn endpoints<'a>(
    state: &'a State,
    container: &'a Container,
) -> impl Iterator<Item = (&'a Arc<Endpoint>, &'a Arc<Network>)> {
    let endpoints = state.endpoints_of(&container.sandbox);
    endpoints.filter_map(|endpoint| Some((endpoint, state.networks.get(&endpoint.network)?)))
}

/// The first id that can start with these digits.
fn first_id<T: TryFrom<String>>(prefix: &str) -> Option<T> {
    (!prefix.is_empty()).then(|| T::try_from(format!("{prefix:0<64}")).ok()).flatten()
}
