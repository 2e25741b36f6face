//! Sandboxes: they come up with the first of their containers and go down with the last, or are made and removed by themselves.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use super::{Task, draft::Draft, endpoint, port};
use crate::{
    change::{Record, RecordKey},
    command::{NewEndpoint, NewSandbox},
    container::Container,
    endpoint::Endpoint,
    id::{EndpointId, NetworkId, SandboxId},
    network::Driver,
    refusal::Refusal,
    sandbox::{Namespace, Sandbox, Stays, Up},
    state::State,
};

/// Makes a sandbox that is down.
pub fn create(draft: &mut Draft, new: NewSandbox) -> Result<SandboxId, Refusal> {
    let NewSandbox { sandbox: wish, endpoints } = new;
    let id = wish.id.clone();
    if draft.state.sandboxes.contains_key(&id) {
        return Err(Refusal::Conflict(format!("a sandbox with the id {id} exists already")));
    }
    port::check(&wish.ports)?;
    check_drivers(draft, &wish, &endpoints)?;
    draft.put(Record::Sandbox(Arc::new(Sandbox { up: Up::Down, published: Vec::new(), ..wish })));
    for NewEndpoint { id: endpoint, network, wish } in endpoints {
        endpoint::check(draft, &*draft.network(&network)?, &wish)?;
        if draft.state.endpoints.contains_key(&endpoint) {
            return Err(Refusal::Conflict(format!("an endpoint with the id {endpoint} exists already")));
        }
        let endpoint = Endpoint { id: endpoint, network, sandbox: id.clone(), wish, lease: None };
        draft.put(Record::Endpoint(Arc::new(endpoint)));
    }
    Ok(id)
}

/// Makes a sandbox that is up until it is removed.
pub fn create_up(draft: &mut Draft, mut new: NewSandbox) -> Result<(), Refusal> {
    new.sandbox.stays = Stays::UntilRemoved;
    let id = create(draft, new)?;
    up(draft, &id)
}

/// Takes a sandbox down that was made by itself. It goes at once, or with the last of its containers, none of which may live.
pub fn remove(draft: &mut Draft, id: &SandboxId) -> Result<(), Refusal> {
    if draft.sandbox(id)?.stays == Stays::WithContainers {
        return Err(Refusal::Conflict(format!("sandbox {} goes with its containers: remove them", id.short())));
    }
    let live = draft.state.residents_of(id).filter(|container| container.is_live());
    let live: Vec<_> = live.map(|container| container.name.clone()).collect();
    if !live.is_empty() {
        let names = live.join(", ");
        return Err(Refusal::Conflict(format!(
            "sandbox {} still has containers that run: stop {names} first",
            id.short()
        )));
    }
    end(draft, id);
    Ok(())
}

/// Takes a sandbox down that has no live containers; it goes with the last of them.
pub fn end(draft: &mut Draft, id: &SandboxId) {
    draft.edit_sandbox(id, |sandbox| sandbox.stays = Stays::WithContainers);
    settle(draft, id);
    if draft.state.residents_of(id).next().is_none() {
        forget(draft, id);
    }
    draft.task(Task::Release(id.clone()));
}

/// Nobody looks after pods any more: those without containers go now.
pub fn orphan(draft: &mut Draft) {
    for id in staying(draft, Stays::UntilRemoved) {
        draft.edit_sandbox(&id, |sandbox| sandbox.stays = Stays::Orphaned);
        if draft.state.residents_of(&id).next().is_none() {
            end(draft, &id);
        }
    }
}

/// Somebody looks after them again.
pub fn adopt(draft: &mut Draft) {
    for id in staying(draft, Stays::Orphaned) {
        draft.edit_sandbox(&id, |sandbox| sandbox.stays = Stays::UntilRemoved);
    }
}

fn staying(draft: &Draft, stays: Stays) -> Vec<SandboxId> {
    let all = draft.state.sandboxes.values().filter(|sandbox| sandbox.stays == stays);
    all.map(|sandbox| sandbox.id.clone()).collect()
}

/// Takes a sandbox without containers out of the state.
pub fn forget(draft: &mut Draft, id: &SandboxId) {
    let endpoints: Vec<_> = draft.state.endpoints_of(id).map(|endpoint| endpoint.id.clone()).collect();
    endpoints.into_iter().for_each(|endpoint| draft.delete(RecordKey::Endpoint(endpoint)));
    draft.delete(RecordKey::Sandbox(id.clone()));
}

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
    let stays = draft.state.sandboxes.get(id).is_some_and(|sandbox| sandbox.stays != Stays::WithContainers);
    if live || stays || draft.state.sandboxes.get(id).is_none_or(|sandbox| sandbox.up == Up::Down) {
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

/// Refuses networks that do not go together in one sandbox.
fn check_drivers(draft: &Draft, sandbox: &Sandbox, endpoints: &[NewEndpoint]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for endpoint in endpoints {
        let network = draft.network(&endpoint.network)?;
        let words = match network.driver {
            Driver::Host if sandbox.namespace != Namespace::Host => {
                "container cannot be disconnected from host network or connected to host network".to_owned()
            }
            Driver::Null | Driver::Bridge(_) if sandbox.namespace == Namespace::Host => {
                "container sharing network namespace with another container or host cannot be connected to any other network"
                    .to_owned()
            }
            Driver::Null if endpoints.len() > 1 => {
                "container cannot be connected to multiple networks with one of the networks in private (none) mode".to_owned()
            }
            _ if !seen.insert(&endpoint.network) => format!("conflicting options: network {} is named twice", network.name),
            _ => continue,
        };
        return Err(Refusal::Invalid(words));
    }
    Ok(())
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
