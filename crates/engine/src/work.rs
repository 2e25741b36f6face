//! What the writer leaves to be done elsewhere.

use model::{ContainerId, decide::Task};

/// Something to be done outside the writer.
pub enum Work {
    /// A task that a decision left.
    Task(Task),
    /// The network has changed under a container that runs: its files are written again.
    Files(ContainerId),
}
