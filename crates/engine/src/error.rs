//! Why a command had no effect.

use thiserror::Error;

/// Why a command had no effect. The state is as it was before.
#[derive(Debug, Error)]
pub enum EngineError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] model::Refusal),
    /// The kernel refused, and what had been done was taken back.
    #[error(transparent)]
    Kernel(#[from] netstate::Fault),
    /// The journal could not be written.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The runtime refused.
    #[error(transparent)]
    Runtime(#[from] runtime::RuntimeError),
    /// The container's process could not be started; the words are complete.
    #[error("{message}")]
    Launch {
        /// The exit code the container has for it: 125, 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// A new container's volumes could not be filled; the words are complete.
    #[error("{0}")]
    Fill(String),
    /// A running container cannot have these limits; the words are complete.
    #[error("{0}")]
    Limit(String),
    /// A process does not go away.
    #[error(
        "container {container} was killed but does not end: one of its processes waits in the kernel (see ps -o pid,stat,wchan)"
    )]
    Stuck {
        /// Its short id.
        container: String,
    },
    /// The writer's thread could not be started.
    #[error("cannot start the writer's thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The engine is closing.
    #[error("the daemon is shutting down: try again when it has started")]
    Closed,
}
