//! A decision in the making: the state as if all that was decided so far held, and what that comes to.

use std::{collections::BTreeSet, sync::Arc};

use super::{Decision, Task, port};
use crate::{
    change::{Change, Record, RecordKey},
    container::Container,
    endpoint::Endpoint,
    event::Event,
    host::Facts,
    id::{ContainerId, EndpointId, NetworkId, SandboxId},
    network::Network,
    refusal::Refusal,
    sandbox::Sandbox,
    state::State,
};

/// A decision in the making.
pub struct Draft<'a> {
    /// What is true of the host.
    pub facts: &'a Facts,
    /// The state as if all that was decided so far held.
    pub state: State,
    before: &'a State,
    touched: BTreeSet<RecordKey>,
    events: Vec<Event>,
    tasks: Vec<Task>,
}

impl<'a> Draft<'a> {
    /// Nothing is decided yet.
    pub fn new(state: &'a State, facts: &'a Facts) -> Self {
        let (touched, events, tasks) = Default::default();
        Self { facts, state: state.clone(), before: state, touched, events, tasks }
    }

    /// What was decided. Records that are as they were are left out.
    pub fn finish(self) -> Decision {
        let mut change = Change::default();
        for key in self.touched {
            match (self.before.record(&key), self.state.record(&key)) {
                (was, Some(is)) if was.as_ref() != Some(&is) => change.puts.push(is),
                (Some(_), None) => change.deletes.push(key),
                _ => {}
            }
        }
        Decision { change, events: self.events, tasks: self.tasks }
    }

    /// Goes back to how the draft was, except for what it was then.
    pub fn attempt(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<(), Refusal> {
        let (state, events, tasks) = (self.state.clone(), self.events.len(), self.tasks.len());
        step(self).inspect_err(|_| {
            self.state = state;
            self.events.truncate(events);
            self.tasks.truncate(tasks);
        })
    }

    /// Whether a port that a sandbox had is not its any more.
    pub fn has_freed_ports(&self) -> bool {
        let of_container = |id| self.before.containers.get(id).map(|container| &container.sandbox);
        let sandboxes = self.touched.iter().filter_map(|key| match key {
            RecordKey::Sandbox(id) => Some(id),
            RecordKey::Container(id) => of_container(id),
            _ => None,
        });
        sandboxes.into_iter().any(|id| {
            let is: Vec<_> = port::claims(&self.state, id).collect();
            port::claims(self.before, id).any(|claim| !is.contains(&claim))
        })
    }

    /// Makes or replaces a record.
    pub fn put(&mut self, record: Record) {
        self.touched.insert(record.key());
        self.state.put(record);
    }

    /// Removes a record.
    pub fn delete(&mut self, key: RecordKey) {
        self.state.delete(&key);
        self.touched.insert(key);
    }

    /// Adds a task.
    pub fn task(&mut self, task: Task) {
        self.tasks.push(task);
    }

    /// The container, or the refusal that there is none.
    pub fn container(&self, id: &ContainerId) -> Result<Arc<Container>, Refusal> {
        let not_found = || Refusal::NotFound { kind: "container", name: id.to_string() };
        self.state.containers.get(id).cloned().ok_or_else(not_found)
    }

    /// The network, or the refusal that there is none.
    pub fn network(&self, id: &NetworkId) -> Result<Arc<Network>, Refusal> {
        let not_found = || Refusal::NotFound { kind: "network", name: id.to_string() };
        self.state.networks.get(id).cloned().ok_or_else(not_found)
    }

    /// The sandbox of a container, or the refusal that there is none.
    pub fn sandbox(&self, id: &SandboxId) -> Result<Arc<Sandbox>, Refusal> {
        let not_found = || Refusal::NotFound { kind: "sandbox", name: id.to_string() };
        self.state.sandboxes.get(id).cloned().ok_or_else(not_found)
    }

    /// Changes a container that is there.
    pub fn edit_container(&mut self, id: &ContainerId, edit: impl FnOnce(&mut Container)) {
        if let Some(mut container) = self.state.containers.get(id).cloned() {
            edit(Arc::make_mut(&mut container));
            self.put(Record::Container(container));
        }
    }

    /// Changes a sandbox that is there.
    pub fn edit_sandbox(&mut self, id: &SandboxId, edit: impl FnOnce(&mut Sandbox)) {
        if let Some(mut sandbox) = self.state.sandboxes.get(id).cloned() {
            edit(Arc::make_mut(&mut sandbox));
            self.put(Record::Sandbox(sandbox));
        }
    }

    /// Changes an endpoint that is there.
    pub fn edit_endpoint(&mut self, id: &EndpointId, edit: impl FnOnce(&mut Endpoint)) {
        if let Some(mut endpoint) = self.state.endpoints.get(id).cloned() {
            edit(Arc::make_mut(&mut endpoint));
            self.put(Record::Endpoint(endpoint));
        }
    }

    /// Tells of something.
    pub fn tell(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Tells of a container as it is in the draft.
    pub fn tell_container(&mut self, id: &ContainerId, action: &str, more: &[(&str, String)]) {
        if let Some(container) = self.state.containers.get(id) {
            self.events.push(Event::container(self.facts.now_ms, container, action, more));
        }
    }

    /// Tells of a network as it is in the draft.
    pub fn tell_network(&mut self, id: &NetworkId, action: &str, more: &[(&str, String)]) {
        if let Some(network) = self.state.networks.get(id) {
            self.events.push(Event::network(self.facts.now_ms, network, action, more));
        }
    }

    /// Tells of a volume.
    pub fn tell_volume(&mut self, name: &str, action: &str, more: &[(&str, String)]) {
        self.events.push(Event::volume(self.facts.now_ms, name, action, more));
    }

    /// A number drawn from the facts; another for each purpose, and for each time it is drawn for it.
    pub fn draw(&self, purpose: u64, time: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): neighbouring inputs give unrelated outputs.
        let mut z =
            self.facts.nonce.wrapping_add((purpose << 32 | time).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
