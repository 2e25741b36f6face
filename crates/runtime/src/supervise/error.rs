//! Why a container operation failed.

use std::io;

use crate::{
    cgroup::UpdateError,
    shim::protocol::{Failure, ProtocolError},
};

/// Why a container operation failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The container could not be started; [`Failure::code`] is its exit code.
    #[error("{}", .0.message)]
    Start(Failure),
    /// It runs already.
    #[error("container {0} is already running")]
    Running(String),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// No such exec.
    #[error("No such exec instance: {0}")]
    NoExec(String),
    /// An exec is started once.
    #[error("exec instance {0} has already been started")]
    ExecStarted(String),
    /// The shim ended without a word.
    #[error("the shim of container {id} ended unexpectedly{}", said(log))]
    Shim {
        /// The container.
        id: String,
        /// What the shim had written.
        log: String,
    },
    /// The shim lives and says nothing.
    #[error(
        "the shim of container {id} does not answer{}: its process is stopped or starved; the container itself goes on",
        hint(*shim)
    )]
    Silent {
        /// The container.
        id: String,
        /// The shim's process id, if known.
        shim: Option<u32>,
    },
    /// The shim said what it may not.
    #[error("the shim of container {id} cannot be understood")]
    Protocol {
        /// The container.
        id: String,
        /// How.
        #[source]
        source: ProtocolError,
    },
    /// The signal does not exist.
    #[error("there is no signal {0}")]
    Signal(i32),
    /// New limits were refused.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The system refused.
    #[error("container {id}: cannot {action}")]
    Io {
        /// The container.
        id: String,
        /// What was tried.
        action: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

fn hint(shim: Option<u32>) -> String {
    shim.map_or_else(String::new, |pid| format!(" (process {pid}; try kill -CONT {pid})"))
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(": {log}") }
}

pub(super) fn io_error(id: &str, action: &'static str) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { id: id.to_owned(), action, source }
}
