//! How far a container has come, in Docker's words.

use model::{
    Container,
    container::{Exit, Health, HealthStatus, Phase},
};
use serde_json::{Value, json};

use crate::time;

/// `created`, `running`, `paused`, `restarting`, `exited`.
pub(crate) fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Created | Phase::Starting => "created",
        Phase::Running(_) => "running",
        Phase::Paused(_) => "paused",
        Phase::Restarting { .. } => "restarting",
        Phase::Exited(_) => "exited",
    }
}

/// `healthy`, `unhealthy`, `starting`, `none`.
pub(crate) fn health_word(health: Option<&Health>) -> &'static str {
    match health.map(|health| health.status) {
        None => "none",
        Some(HealthStatus::Starting) => "starting",
        Some(HealthStatus::Healthy) => "healthy",
        Some(HealthStatus::Unhealthy) => "unhealthy",
    }
}

/// A sentence for a list: `Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`.
pub(crate) fn sentence(container: &Container, now_ms: i64) -> String {
    let since = |at_ms: i64| span(now_ms.saturating_sub(at_ms));
    match &container.phase {
        Phase::Created | Phase::Starting => "Created".to_owned(),
        Phase::Paused(run) => format!("Up {} (Paused)", since(run.started_ms)),
        Phase::Running(run) => {
            let health = match health_word(container.health.as_ref()) {
                "none" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                word => format!(" ({word})"),
            };
            format!("Up {}{health}", since(run.started_ms))
        }
        Phase::Restarting { exit, .. } => format!("Restarting ({}) {} ago", exit.code, since(exit.finished_ms)),
        Phase::Exited(exit) => format!("Exited ({}) {} ago", exit.code, since(exit.finished_ms)),
    }
}

/// The last exit, while it has any meaning.
pub(crate) fn last_exit(phase: &Phase) -> Option<&Exit> {
    match phase {
        Phase::Restarting { exit, .. } | Phase::Exited(exit) => Some(exit),
        _ => None,
    }
}

/// The `State` of an inspect.
pub(crate) fn document(container: &Container) -> Value {
    let phase = &container.phase;
    let exit = last_exit(phase);
    let run = container.run();
    let started_ms = run.map(|run| run.started_ms).or(exit.map(|exit| exit.started_ms)).unwrap_or(0);
    let mut document = json!({
        "Status": word(phase),
        "Running": run.is_some() || matches!(phase, Phase::Restarting { .. }),
        "Paused": matches!(phase, Phase::Paused(_)),
        "Restarting": matches!(phase, Phase::Restarting { .. }),
        "OOMKilled": exit.is_some_and(|exit| exit.oom_killed),
        "Dead": false,
        "Pid": run.map_or(0, |run| run.pid),
        "ExitCode": exit.map_or(0, |exit| exit.code),
        "Error": exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
        "StartedAt": time::rfc3339(started_ms),
        "FinishedAt": time::rfc3339(exit.map_or(0, |exit| exit.finished_ms)),
    });
    if let Some(health) = &container.health {
        document["Health"] = health_document(health);
    }
    document
}

fn health_document(health: &Health) -> Value {
    let log: Vec<Value> = health
        .results
        .iter()
        .map(|result| {
            json!({
                "Start": time::rfc3339(result.started_ms),
                "End": time::rfc3339(result.finished_ms),
                "ExitCode": result.code,
                "Output": result.output,
            })
        })
        .collect();
    json!({ "Status": health_word(Some(health)), "FailingStreak": health.failing, "Log": log })
}

/// A span as people say it: `Less than a second`, `About an hour`, `3 weeks`.
pub(crate) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    let (minutes, hours) = (seconds / 60, (seconds + 1_800) / 3_600);
    let days = hours / 24;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (s, ..) if s < 60 => format!("{s} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, m, _) if m < 60 => format!("{m} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., h) if h < 48 => format!("{h} hours"),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let cases = [
            (-5, "Less than a second"),
            (999, "Less than a second"),
            (1_000, "1 second"),
            (59_000, "59 seconds"),
            (60_000, "About a minute"),
            (119_000, "About a minute"),
            (59 * 60_000, "59 minutes"),
            (60 * 60_000, "About an hour"),
            (2 * 3_600_000, "2 hours"),
            (47 * 3_600_000, "47 hours"),
            (48 * 3_600_000, "2 days"),
            (15 * 86_400_000, "2 weeks"),
            (61 * 86_400_000, "2 months"),
            (800 * 86_400_000, "2 years"),
        ];
        for (ms, expected) in cases {
            assert_eq!(span(ms), expected, "{ms}");
        }
    }
}
