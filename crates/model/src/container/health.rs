//! How a container's health is checked, and what the checks say.

use serde::{Deserialize, Serialize};

/// How health is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Between checks, milliseconds.
    pub interval_ms: u64,
    /// The longest a check may take, milliseconds.
    pub timeout_ms: u64,
    /// Failures in this time after the start do not count, milliseconds.
    pub start_period_ms: u64,
    /// Between checks in that time, milliseconds.
    pub start_interval_ms: u64,
    /// So many failures in a row mean unhealthy.
    pub retries: u32,
}

/// What a health check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing: u32,
    /// The last results, oldest first, at most five.
    pub results: Vec<HealthResult>,
}

/// The verdict of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// When it ended, milliseconds since 1970 UTC.
    pub finished_ms: i64,
    /// How long the container had run when it began, milliseconds, whatever the host's clock did meanwhile.
    #[serde(default)]
    pub age_ms: u64,
    /// 0 healthy, 1 unhealthy, -1 timed out or could not run.
    pub code: i32,
    /// The start of its output, at most 4,096 bytes.
    pub output: String,
}
