//! Ending a process: asking first, then killing.

use std::time::Duration;

use model::{
    Command, ContainerId, Refusal,
    command::{AnonymousVolumes, Force},
    container::Container,
};
use runtime::RuntimeError;

use super::SIGKILL;
use crate::{Engine, EngineError, WaitFor};

/// How long after SIGKILL a process may take to be gone, before that is an error.
const AFTER_KILL: Duration = Duration::from_secs(10);

impl Engine {
    /// Asks the process to end with its stop signal, and kills it after the timeout (seconds; negative: never; none: the container's own).
    /// Returns when it has ended.
    pub async fn stop(
        &self,
        container: &ContainerId,
        timeout_s: Option<i64>,
        signal: Option<i32>,
    ) -> Result<(), EngineError> {
        let found = find(self, container)?;
        let signal = signal.unwrap_or(found.stop.signal);
        self.end(&found, Command::Stop { container: container.clone(), signal }, timeout_s, signal).await
    }

    /// The same, and starts it again; one that goes at its end is kept for that.
    pub async fn restart(
        &self,
        container: &ContainerId,
        timeout_s: Option<i64>,
        signal: Option<i32>,
    ) -> Result<(), EngineError> {
        let found = find(self, container)?;
        let signal = signal.unwrap_or(found.stop.signal);
        if found.is_live() {
            self.end(&found, Command::Restart { container: container.clone(), signal }, timeout_s, signal).await?;
        }
        self.start(container).await
    }

    async fn end(
        &self,
        found: &Container,
        command: Command,
        timeout_s: Option<i64>,
        signal: i32,
    ) -> Result<(), EngineError> {
        let container = &found.id;
        let ended = self.wait(container, WaitFor::NotRunning);
        self.submit(command).await?;
        tokio::pin!(ended);
        send(self, container, signal).await?;
        let timeout_s = timeout_s.unwrap_or(found.stop.timeout_s);
        match u64::try_from(timeout_s) {
            // Negative: for ever.
            Err(_) => drop(ended.await?),
            Ok(seconds) => {
                if tokio::time::timeout(Duration::from_secs(seconds), &mut ended).await.is_err() {
                    // It may have ended meanwhile.
                    drop(self.submit(Command::Kill { container: container.clone(), signal: SIGKILL }).await);
                    send(self, container, SIGKILL).await?;
                    gone(container, tokio::time::timeout(AFTER_KILL, ended).await)?;
                }
            }
        }
        Ok(())
    }

    /// Sends a signal; after SIGKILL it returns when the process is gone.
    pub async fn kill(&self, container: &ContainerId, signal: i32) -> Result<(), EngineError> {
        let ended = self.wait(container, WaitFor::NotRunning);
        self.submit(Command::Kill { container: container.clone(), signal }).await?;
        send(self, container, signal).await?;
        if signal == SIGKILL {
            gone(container, tokio::time::timeout(AFTER_KILL, ended).await)?;
        }
        Ok(())
    }

    /// Removes a container; one that runs is killed if that may be. Returns when nothing is left of it.
    pub async fn remove(
        &self,
        container: &ContainerId,
        force: Force,
        volumes: AnonymousVolumes,
    ) -> Result<(), EngineError> {
        let reaped = self.shared.waiters.reap(container);
        self.submit(Command::RemoveContainer { container: container.clone(), force, volumes }).await?;
        reaped.await.map_err(|_| EngineError::Closed)
    }
}

fn find(engine: &Engine, container: &ContainerId) -> Result<Container, EngineError> {
    let state = engine.state();
    let found = state.containers.get(container);
    let missing = || Refusal::NotFound { kind: "container", name: container.to_string() };
    found.map(|c| (**c).clone()).ok_or_else(|| missing().into())
}

async fn send(engine: &Engine, container: &ContainerId, signal: i32) -> Result<(), EngineError> {
    match engine.runtime().signal(container.as_str(), signal).await {
        Ok(()) | Err(RuntimeError::NotRunning(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn gone<T>(container: &ContainerId, ended: Result<T, tokio::time::error::Elapsed>) -> Result<(), EngineError> {
    let stuck = |_| EngineError::Stuck { container: container.short().to_owned() };
    ended.map(|_| ()).map_err(stuck)
}
