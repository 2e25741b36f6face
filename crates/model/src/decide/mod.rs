//! Every choice that is ever made: addresses, ports, names, links, restarts. One file per noun.
//!
//! A decision looks at the state, the facts and the command, and nothing else; the change it returns is journalled before anything
//! is done about it.

use crate::{
    change::Change, command::Command, event::Event, host::Facts, id::ContainerId, refusal::Refusal, state::State,
};

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// What is written.
    pub change: Change,
    /// What is told to those who watch.
    pub events: Vec<Event>,
    /// What is to be done about processes once the network is as the new state says.
    pub tasks: Vec<Task>,
}

/// Something to be done about a process or a directory. Tasks are derived again from the state when the daemon starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Start the process; report `Started` or `Exited`.
    Launch(ContainerId),
    /// End the process now; its exit is reported as usual.
    Kill(ContainerId),
    /// Freeze.
    Freeze(ContainerId),
    /// Thaw.
    Thaw(ContainerId),
    /// Report `RestartDue` at this time.
    RestartAt {
        /// The container.
        container: ContainerId,
        /// Milliseconds since 1970 UTC.
        due_ms: i64,
    },
    /// Write new limits.
    Limit(ContainerId),
    /// The container is gone from the state: remove what is left of it (control group, writable layer, logs).
    Reap(ContainerId),
    /// The volume is gone from the state: remove its directory.
    DropVolume(String),
}

/// Decides a command.
pub fn decide(state: &State, facts: &Facts, command: Command) -> Result<Decision, Refusal> {
    let _ = (state, facts, command);
    Err(Refusal::Invalid("not decided yet".to_owned()))
}
