//! Running health checks. What a result means is decided.

use std::time::Duration;

use model::{
    Command, ContainerId, State,
    container::{HealthCheck, HealthResult, HealthStatus, Phase},
};
use runtime::{ExecWish, RuntimeError};

use crate::{Engine, clock::now_ms};

/// How much of a check's output is kept, bytes.
const KEPT: usize = 4096;

/// Checks again and again until it is aborted or the container is gone.
pub async fn watch(engine: Engine, container: ContainerId, check: HealthCheck) {
    loop {
        let Some(pause_ms) = pause_ms(&engine.state(), &container, &check, age(&engine, &container)) else { return };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        if paused(&engine.state(), &container) {
            continue;
        }
        let result = run(&engine, &container, &check).await;
        if engine.submit(Command::Health { container: container.clone(), result }).await.is_err() {
            return;
        }
    }
}

/// The pause before the next check: in the start period another, until the first success.
fn pause_ms(state: &State, container: &ContainerId, check: &HealthCheck, age: Duration) -> Option<u64> {
    let found = state.containers.get(container)?;
    found.run()?;
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let starting = found.health.as_ref().is_none_or(|health| health.status == HealthStatus::Starting);
    Some(if starting && age_ms < check.start_period_ms { check.start_interval_ms } else { check.interval_ms })
}

/// Not the difference of two times of day: the host's clock may be set meanwhile.
fn age(engine: &Engine, container: &ContainerId) -> Duration {
    engine.runtime().age(container.as_str()).unwrap_or_default()
}

fn paused(state: &State, container: &ContainerId) -> bool {
    state.containers.get(container).is_some_and(|c| matches!(c.phase, Phase::Paused(_)))
}

async fn run(engine: &Engine, container: &ContainerId, check: &HealthCheck) -> HealthResult {
    let (started_ms, age) = (now_ms(), age(engine, container));
    let mut output = Vec::new();
    let timeout = Duration::from_millis(check.timeout_ms);
    let (code, output) = match tokio::time::timeout(timeout, exec(engine, container, check, &mut output)).await {
        Ok(Ok(code)) => (code, String::from_utf8_lossy(&output).into_owned()),
        Ok(Err(error)) => (-1, error.to_string()),
        Err(_) => (-1, format!("Health check exceeded timeout ({} ms)", check.timeout_ms)),
    };
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    HealthResult { started_ms, finished_ms: now_ms(), age_ms, code, output }
}

async fn exec(
    engine: &Engine,
    container: &ContainerId,
    check: &HealthCheck,
    kept: &mut Vec<u8>,
) -> Result<i32, RuntimeError> {
    let runtime = engine.runtime();
    let id = format!("health-{container}");
    runtime.exec_create(&id, container.as_str(), ExecWish { args: check.args.clone(), ..ExecWish::default() })?;
    let mut attached = runtime.exec_start(&id).await?;
    while let Ok(Some((_, bytes))) = attached.output.read().await {
        let room = KEPT.saturating_sub(kept.len()).min(bytes.len());
        kept.extend_from_slice(&bytes[..room]);
    }
    Ok(runtime.exec_inspect(&id)?.exit_code.unwrap_or(-1))
}
