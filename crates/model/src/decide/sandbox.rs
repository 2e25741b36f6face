//! Sandboxes: they come up with the first of their containers, and go down with the last.

use std::cmp::Reverse;

use super::{draft::Draft, endpoint, port};
use crate::{
    container::Container,
    endpoint::Endpoint,
    id::{EndpointId, NetworkId, SandboxId},
    refusal::Refusal,
    sandbox::{Namespace, Up},
    state::State,
};

/// Brings a sandbox up, if it is not: leases for its endpoints, and its ports.
pub fn up(draft: &mut Draft, id: &SandboxId) -> Result<(), Refusal> {
    let sandbox = draft.sandbox(id)?;
    if sandbox.up == Up::Up {
        return Ok(());
    }
    draft.edit_sandbox(id, |sandbox| sandbox.up = Up::Up);
    let endpoints = in_order(draft, id)?;
    if sandbox.namespace == Namespace::Own {
        for (endpoint, _) in &endpoints {
            endpoint::lease(draft, endpoint)?;
        }
        port::publish(draft, id)?;
    }
    tell(draft, id, endpoints, "connect");
    Ok(())
}

/// Takes a sandbox down when none of its containers lives: its leases and its ports are free again.
pub fn settle(draft: &mut Draft, id: &SandboxId) {
    let live = draft.state.residents_of(id).any(|container| container.is_live());
    if live || draft.state.sandboxes.get(id).is_none_or(|sandbox| sandbox.up == Up::Down) {
        return;
    }
    let endpoints: Vec<_> = draft.state.endpoints_of(id).map(|e| (e.id.clone(), e.network.clone())).collect();
    for (endpoint, _) in &endpoints {
        draft.edit_endpoint(endpoint, |endpoint| endpoint.lease = None);
    }
    draft.edit_sandbox(id, |sandbox| {
        sandbox.up = Up::Down;
        sandbox.published.clear();
    });
    tell(draft, id, endpoints, "disconnect");
}

/// The container that a sandbox was made for, or the first of its containers.
pub fn home<'s>(state: &'s State, id: &'s SandboxId) -> Option<&'s Container> {
    let sandbox = state.sandboxes.get(id)?;
    let made_for = state.residents_of(id).find(|container| sandbox.is_home_of(&container.id));
    made_for.or_else(|| state.residents_of(id).next()).map(|container| &**container)
}

/// Who has a sandbox's addresses and ports, in words: `container web (0123456789ab)`.
pub fn holder(state: &State, id: &SandboxId) -> String {
    match home(state, id) {
        Some(container) => format!("container {} ({})", container.name, container.id.short()),
        None => format!("sandbox {}", id.short()),
    }
}

/// Who has an endpoint: `name:"web" id:"0123456789ab"`.
pub fn endpoint_holder(state: &State, endpoint: &Endpoint) -> String {
    match home(state, &endpoint.sandbox) {
        Some(container) => format!("name:{:?} id:{:?}", container.name, container.id.short()),
        None => format!("id:{:?}", endpoint.id.short()),
    }
}

/// The endpoints in the order of their interfaces: those that would own the default route first.
fn in_order(draft: &Draft, id: &SandboxId) -> Result<Vec<(EndpointId, NetworkId)>, Refusal> {
    let mut order = Vec::new();
    for endpoint in draft.state.endpoints_of(id) {
        let name = draft.network(&endpoint.network)?.name.clone();
        order.push((Reverse(endpoint.wish.gateway_priority), name, endpoint.id.clone(), endpoint.network.clone()));
    }
    order.sort();
    Ok(order.into_iter().map(|(_, _, endpoint, network)| (endpoint, network)).collect())
}

fn tell(draft: &mut Draft, id: &SandboxId, endpoints: Vec<(EndpointId, NetworkId)>, action: &str) {
    let Some(container) = home(&draft.state, id).map(|container| container.id.to_string()) else { return };
    for (_, network) in endpoints {
        draft.tell_network(&network, action, &[("container", container.clone())]);
    }
}
