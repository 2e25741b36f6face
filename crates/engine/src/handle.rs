//! The engine as the faces see it.

use std::sync::Arc;

use model::{Command, ContainerId, State, container::Exit};

use crate::{EngineError, Events};

/// A handle to the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    events: Events,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// That it does not run; at once if it does not now.
    NotRunning,
    /// The next end from now on.
    NextExit,
    /// That it is removed.
    Removed,
}

impl Engine {
    /// The state as of the last command. Cheap: a pointer is copied.
    pub fn state(&self) -> Arc<State> {
        unimplemented!()
    }

    /// Decides, journals and applies a command. On success the returned state has it in effect; on an error nothing has changed.
    pub async fn submit(&self, command: Command) -> Result<Arc<State>, EngineError> {
        let _ = command;
        Err(EngineError::Closed)
    }

    /// Starts a container and returns when its process runs, or could not be started (`EngineError::Launch`).
    pub async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let _ = container;
        Err(EngineError::Closed)
    }

    /// Asks the process to end with its stop signal, and kills it after the timeout (seconds; negative: never; none: the container's own).
    pub async fn stop(&self, container: &ContainerId, timeout_s: Option<i64>, signal: Option<i32>) -> Result<(), EngineError> {
        let _ = (container, timeout_s, signal);
        Err(EngineError::Closed)
    }

    /// Sends a signal.
    pub async fn kill(&self, container: &ContainerId, signal: i32) -> Result<(), EngineError> {
        let _ = (container, signal);
        Err(EngineError::Closed)
    }

    /// A future that ends with the container's exit. Subscribed when this returns, so that a start right after is not missed.
    pub fn wait(&self, container: &ContainerId, what: WaitFor) -> impl Future<Output = Result<Exit, EngineError>> + Send + 'static {
        let _ = (container, what);
        async { Err(EngineError::Closed) }
    }

    /// The feed of events; faces also tell it what they did themselves (pull, exec, attach).
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The processes: attach, exec, logs, stats, files.
    pub fn runtime(&self) -> &Arc<runtime::Runtime> {
        unimplemented!()
    }

    /// The image store.
    pub fn images(&self) -> &runtime::image::Store {
        unimplemented!()
    }
}
