//! Ending a process: asking first, then killing.

use std::time::Duration;

use model::{
    Command, ContainerId, Refusal,
    container::{Container, Phase},
};
use runtime::RuntimeError;

use super::SIGKILL;
use crate::{Engine, EngineError, WaitFor};

/// How long after SIGKILL a process may take to be gone, before that is an error.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Asks the process to end, and kills it after the timeout. Returns when it has ended.
pub async fn stop(
    engine: &Engine,
    container: &ContainerId,
    timeout_s: Option<i64>,
    signal: Option<i32>,
) -> Result<(), EngineError> {
    let found = find(engine, container)?;
    let ended = engine.wait(container, WaitFor::NotRunning);
    engine.submit(Command::Stop(container.clone())).await?;
    tokio::pin!(ended);
    send(engine, container, signal.unwrap_or(found.stop.signal)).await?;
    if matches!(found.phase, Phase::Paused(_)) {
        // A frozen process takes no signal.
        engine.submit(Command::Unpause(container.clone())).await?;
    }
    let timeout_s = timeout_s.unwrap_or(found.stop.timeout_s);
    match u64::try_from(timeout_s) {
        // Negative: for ever.
        Err(_) => drop(ended.await?),
        Ok(seconds) => {
            if tokio::time::timeout(Duration::from_secs(seconds), &mut ended).await.is_err() {
                send(engine, container, SIGKILL).await?;
                gone(container, tokio::time::timeout(AFTER_KILL, ended).await)?;
            }
        }
    }
    Ok(())
}

/// Sends a signal; after SIGKILL it returns when the process is gone.
pub async fn kill(engine: &Engine, container: &ContainerId, signal: i32) -> Result<(), EngineError> {
    let found = find(engine, container)?;
    let ended = engine.wait(container, WaitFor::NotRunning);
    engine.submit(Command::Kill { container: container.clone(), signal }).await?;
    send(engine, container, signal).await?;
    if signal == SIGKILL {
        if matches!(found.phase, Phase::Paused(_)) {
            engine.submit(Command::Unpause(container.clone())).await?;
        }
        gone(container, tokio::time::timeout(AFTER_KILL, ended).await)?;
    }
    Ok(())
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
