//! Legacy links as they are shown: on networks without DNS a container's alias for another is a name of that other, `/web/db`.

use std::collections::BTreeMap;

use model::{Container, ContainerId, State};

/// The names that containers have by links.
pub(super) fn names(state: &State) -> BTreeMap<ContainerId, Vec<String>> {
    let mut names: BTreeMap<ContainerId, Vec<String>> = BTreeMap::new();
    for network in state.networks.values().filter(|network| state.is_linked_by_hosts_file(&network.id)) {
        for endpoint in state.endpoints_on(&network.id).filter(|endpoint| !endpoint.wish.links.is_empty()) {
            let owner = state.residents_of(&endpoint.sandbox).find(|resident| is_home(state, resident));
            let Some(owner) = owner else { continue };
            for link in &endpoint.wish.links {
                if let Some(other) = state.linked(link) {
                    names.entry(other.id.clone()).or_default().push(format!("/{}/{}", owner.name, link.alias));
                }
            }
        }
    }
    names
}

/// The `Links` of an inspect: `/db:/web/store`.
pub(super) fn list(state: &State, container: &Container) -> Option<Vec<String>> {
    let endpoints =
        state.endpoints_of(&container.sandbox).filter(|endpoint| state.is_linked_by_hosts_file(&endpoint.network));
    let links: Vec<String> = endpoints
        .flat_map(|endpoint| &endpoint.wish.links)
        .filter_map(|link| Some(format!("/{}:/{}/{}", state.linked(link)?.name, container.name, link.alias)))
        .collect();
    Some(links).filter(|links| !links.is_empty() && is_home(state, container))
}

fn is_home(state: &State, container: &Container) -> bool {
    state.sandboxes.get(&container.sandbox).is_some_and(|sandbox| sandbox.is_home_of(&container.id))
}
