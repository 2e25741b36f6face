//! Journals for the fuzzer: records that were written by hand, by a bug, or by nobody. Built for tests, which replay the corpus of
//! `fuzz/`, and by `cargo fuzz`; never into the product.

use model::{
    Change, Command, Facts, Record, State,
    command::{AnonymousVolumes, Force},
    container::Exit,
    decide,
};

/// One record a line: whatever refers to what is not there, a plan can be made of it, what runs can end, and everything can be removed.
pub fn journal(lines: &[u8]) {
    let puts: Vec<Record> = lines.split(|&b| b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let mut state = State::default().with(&Change { puts, deletes: Vec::new() });
    let mut commands = Vec::new();
    commands.extend(state.settings.iter().map(|settings| Command::Open(Box::new((**settings).clone()))));
    for id in state.containers.keys() {
        commands.push(Command::Exited { container: id.clone(), exit: Exit::default() });
        commands.push(Command::Start(id.clone()));
        commands.push(Command::RemoveContainer {
            container: id.clone(),
            force: Force::Kill,
            volumes: AnonymousVolumes::Remove,
        });
    }
    commands.extend(state.networks.keys().cloned().map(Command::RemoveNetwork));
    for command in commands {
        let facts = Facts { now_ms: 1_700_000_000_000, nonce: state.revision, ..Facts::default() };
        if let Ok(decision) = decide(&state, &facts, command) {
            state = state.with(&decision.change);
        }
        let desired = plan::net(&state);
        netstate::diff(&desired, &netstate::NetState::default());
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpora() {
        super::replay::replay("journal", super::journal);
    }
}
