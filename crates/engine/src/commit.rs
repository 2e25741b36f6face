//! How far a command may fail.

use std::sync::Arc;

use model::{Change, Command, Record, RecordKey, State};

/// How far a command may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A refusal by the kernel takes all of it back.
    AllOrNothing,
    /// What the kernel refuses is tried again until it holds.
    Eventually,
}

/// The mode of a command: what gives somebody something is all or nothing; what tells of a fact, or takes away, must come true.
pub fn mode(command: &Command) -> Mode {
    match command {
        Command::CreateNetwork(_) | Command::Connect(_) | Command::CreateContainer(_) | Command::Start(_) => Mode::AllOrNothing,
        _ => Mode::Eventually,
    }
}

/// The change that leads back to `before`.
pub fn inverse(before: &State, change: &Change) -> Change {
    let puts = change.puts.iter().map(Record::key);
    let mut back = Change::default();
    for key in puts.chain(change.deletes.iter().cloned()) {
        match record(before, &key) {
            Some(record) => back.puts.push(record),
            None => back.deletes.push(key),
        }
    }
    back
}

fn record(state: &State, key: &RecordKey) -> Option<Record> {
    match key {
        RecordKey::Settings => state.settings.clone().map(Record::Settings),
        RecordKey::Network(id) => state.networks.get(id).map(Arc::clone).map(Record::Network),
        RecordKey::Sandbox(id) => state.sandboxes.get(id).map(Arc::clone).map(Record::Sandbox),
        RecordKey::Endpoint(id) => state.endpoints.get(id).map(Arc::clone).map(Record::Endpoint),
        RecordKey::Container(id) => state.containers.get(id).map(Arc::clone).map(Record::Container),
        RecordKey::Volume(name) => state.volumes.get(name).map(Arc::clone).map(Record::Volume),
    }
}
