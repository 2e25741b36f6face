//! Health: what the last checks come to.

use super::super::draft::Draft;
use crate::{
    container::{Health, HealthCheck, HealthResult, HealthStatus},
    id::ContainerId,
    refusal::Refusal,
};

/// How many results are kept.
const KEPT: usize = 5;

/// A check ended.
pub fn checked(draft: &mut Draft, id: &ContainerId, result: HealthResult) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    let (Some(_), Some(check), Some(health)) = (container.run(), &container.health_check, &container.health) else {
        return Err(Refusal::Unchanged(format!("container {id} has no health to check")));
    };
    let next = judge(health, check, result);
    let (was, is) = (health.status, next.status);
    draft.edit_container(id, |container| container.health = Some(next));
    if was != is {
        let word = if is == HealthStatus::Healthy { "healthy" } else { "unhealthy" };
        draft.tell_container(id, &format!("health_status: {word}"), &[]);
    }
    Ok(())
}

fn judge(health: &Health, check: &HealthCheck, result: HealthResult) -> Health {
    let mut next = health.clone();
    let in_start_period = || health.status == HealthStatus::Starting && result.age_ms < check.start_period_ms;
    if result.code == 0 {
        next.failing = 0;
        next.status = HealthStatus::Healthy;
    } else if !in_start_period() {
        next.failing = next.failing.saturating_add(1);
        if next.failing >= check.retries.max(1) {
            next.status = HealthStatus::Unhealthy;
        }
    }
    next.results.push(result);
    let old = next.results.len().saturating_sub(KEPT);
    next.results.drain(..old);
    next
}
