//! The health check.

use model::container::HealthCheck;

use crate::{ApiError, wire::config::Config};

const INTERVAL_MS: u64 = 30_000;
const TIMEOUT_MS: u64 = 30_000;
const START_INTERVAL_MS: u64 = 5_000;
const RETRIES: u32 = 3;
const NS_PER_MS: i64 = 1_000_000;

/// Refuses values out of range.
pub(super) fn validate(config: &Config) -> Result<(), ApiError> {
    let Some(check) = &config.healthcheck else { return Ok(()) };
    let times = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    if let Some((name, _)) = times.into_iter().find(|(_, ns)| *ns != 0 && *ns < NS_PER_MS) {
        return Err(ApiError::invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
    }
    if check.retries < 0 {
        return Err(ApiError::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

/// How health is checked, with Docker's defaults; none if it is not.
pub(super) fn check(config: &Config) -> Option<HealthCheck> {
    let check = config.healthcheck.as_ref()?;
    let (kind, rest) = check.test.split_first()?;
    let args = match kind.as_str() {
        "CMD" => rest.to_vec(),
        "CMD-SHELL" => {
            let shell = config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            shell.into_iter().chain(rest.first().cloned()).collect()
        }
        _ => return None,
    };
    let ms = |ns: i64, default: u64| if ns > 0 { u64::try_from(ns / NS_PER_MS).unwrap_or(default) } else { default };
    (!args.is_empty()).then(|| HealthCheck {
        args,
        interval_ms: ms(check.interval, INTERVAL_MS),
        timeout_ms: ms(check.timeout, TIMEOUT_MS),
        start_period_ms: ms(check.start_period, 0),
        start_interval_ms: ms(check.start_interval, START_INTERVAL_MS),
        retries: if check.retries > 0 { u32::try_from(check.retries).unwrap_or(u32::MAX) } else { RETRIES },
    })
}
