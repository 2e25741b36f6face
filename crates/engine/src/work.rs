//! What the writer leaves to be done elsewhere.

use std::sync::Arc;

use model::{ContainerId, State, decide::Task};
use tokio::sync::oneshot;

use crate::EngineError;

/// Where the outcome of a command goes.
pub type Reply = oneshot::Sender<Result<Arc<State>, EngineError>>;

/// Something to be done outside the writer.
pub enum Work {
    /// A task that a decision left.
    Task(Task),
    /// The network has changed under a container that runs: its files are written again.
    Files(ContainerId),
    /// Whoever changed the network is answered, now that the files tell of it.
    Answer(Reply, Arc<State>),
}
