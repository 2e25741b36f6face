//! How far a command may fail.

use model::{Change, Command, Record, State};

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
        Command::CreateNetwork(_)
        | Command::Connect(_)
        | Command::CreateSandbox(_)
        | Command::CreateContainer(_)
        | Command::Start(_) => Mode::AllOrNothing,
        _ => Mode::Eventually,
    }
}

/// The change that leads back to `before`.
pub fn inverse(before: &State, change: &Change) -> Change {
    let puts = change.puts.iter().map(Record::key);
    let mut back = Change::default();
    for key in puts.chain(change.deletes.iter().cloned()) {
        match before.record(&key) {
            Some(record) => back.puts.push(record),
            None => back.deletes.push(key),
        }
    }
    back
}
