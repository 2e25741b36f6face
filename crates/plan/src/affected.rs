//! Which fragments a change may change: never too few, and as few as is cheap to say.

use std::collections::BTreeSet;

use model::{
    Change, Endpoint, EndpointId, Record, RecordKey, SandboxId, State,
    network::{Bridge, Icc, Others},
};

use crate::{Wish, service::nftables::is_uncommon};

/// The wishes whose fragments may differ between the two states, of which `change` makes one the other.
pub fn affected(before: &State, after: &State, change: &Change) -> BTreeSet<Wish> {
    let mut affected = Affected { states: [before, after], wishes: BTreeSet::new() };
    let puts = change.puts.iter().map(Record::key);
    for key in puts.chain(change.deletes.iter().cloned()) {
        affected.by(&key);
    }
    affected.wishes
}

struct Affected<'s> {
    states: [&'s State; 2],
    wishes: BTreeSet<Wish>,
}

impl Affected<'_> {
    fn by(&mut self, key: &RecordKey) {
        match key {
            RecordKey::Settings => {
                self.wishes.insert(Wish::Base);
                let [before, after] = self.states.map(|state| &state.settings);
                if before != after {
                    self.wishes.extend(self.states[1].sandboxes.keys().cloned().map(Wish::Sandbox));
                    // Ports of nodes have listeners too.
                    self.services();
                }
                if before.is_some() != after.is_some() {
                    self.wishes.insert(Wish::Cluster);
                }
            }
            RecordKey::Network(id) => {
                let bridges = self.states.map(|state| state.networks.get(id).and_then(|network| network.bridge()));
                if bridges[0] == bridges[1] && self.names_are_equal(id) {
                    return;
                }
                self.wishes.extend([Wish::Base, Wish::Cluster, Wish::Network(id.clone())]);
                self.reaching();
                for state in self.states {
                    for endpoint in state.endpoints_on(id) {
                        self.wishes.insert(Wish::Endpoint(endpoint.id.clone()));
                        self.wishes.insert(Wish::Sandbox(endpoint.sandbox.clone()));
                    }
                }
            }
            RecordKey::Sandbox(id) => self.sandbox(id),
            RecordKey::Endpoint(id) => self.endpoint(id),
            RecordKey::Container(id) => {
                let homes = self.states.map(|state| state.containers.get(id).map(|container| &container.sandbox));
                if homes[0] == homes[1] {
                    return;
                }
                // Links name containers.
                for sandbox in homes.into_iter().flatten() {
                    for state in self.states {
                        let endpoints: Vec<_> = state.endpoints_of(sandbox).cloned().collect();
                        endpoints.iter().for_each(|endpoint| self.linked(state, endpoint));
                    }
                }
            }
            RecordKey::Cluster => {
                self.wishes.extend([Wish::Base, Wish::Cluster]);
                let [before, after] = self.states.map(|state| state.cluster.is_some());
                if before != after {
                    self.services();
                }
            }
            RecordKey::Service(name) => {
                self.wishes.insert(Wish::Service(name.clone()));
                let services = self.states.map(|state| state.services.get(name));
                for service in services.into_iter().flatten() {
                    self.wishes.extend(service.spreads().filter(is_uncommon).map(Wish::Spread));
                }
                let [before, after] = services.map(|service| service.map_or(&[][..], |s| &s.wish.balancer_addresses));
                if before != after {
                    self.wishes.insert(Wish::Cluster);
                }
            }
            RecordKey::EndpointSlice(_) | RecordKey::Document(_) | RecordKey::Volume(_) => {}
        }
    }

    /// The networks that say of each other network whether they reach it.
    fn reaching(&mut self) {
        for state in self.states {
            let networks = state.networks.values();
            let all = networks.filter(|n| n.bridge().is_some_and(|bridge| bridge.others == Others::Reached));
            self.wishes.extend(all.map(|network| Wish::Network(network.id.clone())));
        }
    }

    fn services(&mut self) {
        for state in self.states {
            self.wishes.extend(state.services.keys().cloned().map(Wish::Service));
            self.wishes.extend(state.spreads.keys().copied().map(Wish::Spread));
        }
    }

    /// A network's name decides between equal gateways.
    fn names_are_equal(&self, id: &model::NetworkId) -> bool {
        let [before, after] = self.states.map(|state| state.networks.get(id).map(|network| &network.name));
        before == after
    }

    fn sandbox(&mut self, id: &SandboxId) {
        self.wishes.insert(Wish::Sandbox(id.clone()));
        for state in self.states {
            self.wishes.extend(state.endpoints_of(id).map(|endpoint| Wish::Endpoint(endpoint.id.clone())));
        }
    }

    fn endpoint(&mut self, id: &EndpointId) {
        self.wishes.insert(Wish::Endpoint(id.clone()));
        for state in self.states {
            if let Some(endpoint) = state.endpoints.get(id).cloned() {
                self.wishes.insert(Wish::Sandbox(endpoint.sandbox.clone()));
                self.linked(state, &endpoint);
            }
        }
    }

    /// Those on the same network that are linked to an endpoint, or to which it is linked, where links matter.
    fn linked(&mut self, state: &State, endpoint: &Endpoint) {
        self.wishes.insert(Wish::Endpoint(endpoint.id.clone()));
        let bridge = |state: &State| {
            let network = state.networks.get(&endpoint.network);
            network.and_then(|network| network.bridge()).is_some_and(|bridge: &Bridge| bridge.icc == Icc::LinkedOnly)
        };
        if !self.states.into_iter().any(bridge) {
            return;
        }
        let others = state.endpoints_on(&endpoint.network);
        let near = others.filter(|other| !other.wish.links.is_empty() || !endpoint.wish.links.is_empty());
        self.wishes.extend(near.map(|other| Wish::Endpoint(other.id.clone())));
    }
}
