//! What people call the things that the kernel knows by other names.

use std::collections::BTreeMap;

use model::State;
use netstate::Key;
use plan::{Desired, Wish};

/// Names for the map, by object.
pub fn labels(state: &State, desired: &Desired) -> BTreeMap<Key, String> {
    let label = |(key, wish): (&Key, &Wish)| match key {
        Key::Netns(_) | Key::Link(_) => Some((key.clone(), name(state, wish)?)),
        _ => None,
    };
    desired.owner.iter().filter_map(label).collect()
}

/// Whose wish it is, as people call it.
pub fn name(state: &State, wish: &Wish) -> Option<String> {
    match wish {
        Wish::Base | Wish::Cluster | Wish::Spread(_) => None,
        Wish::Service(name) => Some(name.to_string()),
        Wish::Network(id) => state.networks.get(id).map(|network| network.name.clone()),
        Wish::Sandbox(id) => resident(state, id),
        Wish::Endpoint(id) => resident(state, &state.endpoints.get(id)?.sandbox),
    }
}

/// The first container of a sandbox.
fn resident(state: &State, sandbox: &model::SandboxId) -> Option<String> {
    let container = state.containers.values().find(|container| container.sandbox == *sandbox)?;
    Some(container.name.clone())
}
