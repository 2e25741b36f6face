//! Limits in the OCI's words.

use model::container::Resources;
use serde_json::{Map, Value, json};

/// The limits that are set, without the device rules.
pub fn of(resources: &Resources) -> Value {
    let memory = present([
        ("limit", resources.memory.map(Into::into)),
        ("swap", swap(resources).map(Into::into)),
        ("reservation", resources.memory_reservation.map(Into::into)),
        ("swappiness", resources.memory_swappiness.map(Into::into)),
        ("disableOOMKiller", resources.oom_kill_disable.filter(|disable| *disable).map(Into::into)),
    ]);
    let cpu = present([
        ("shares", resources.cpu_shares.map(Into::into)),
        ("period", resources.cpu_period.map(Into::into)),
        ("quota", resources.cpu_quota.map(Into::into)),
        ("realtimePeriod", resources.cpu_realtime_period.map(Into::into)),
        ("realtimeRuntime", resources.cpu_realtime_runtime.map(Into::into)),
        ("cpus", resources.cpuset_cpus.clone().map(Into::into)),
        ("mems", resources.cpuset_mems.clone().map(Into::into)),
    ]);
    let mut value = Map::new();
    for (name, part) in [("memory", memory), ("cpu", cpu)] {
        if !part.is_empty() {
            value.insert(name.to_owned(), part.into());
        }
    }
    if let Some(pids) = resources.pids.filter(|pids| *pids > 0) {
        value.insert("pids".to_owned(), json!({"limit": pids}));
    }
    if let Some(weight) = resources.blkio_weight {
        value.insert("blockIO".to_owned(), json!({"weight": weight}));
    }
    value.into()
}

/// Docker's rule: a memory limit alone allows as much swap again.
fn swap(resources: &Resources) -> Option<i64> {
    let implied = || resources.memory.and_then(|memory| i64::try_from(memory).ok()?.checked_mul(2));
    resources.memory_swap.filter(|swap| *swap != 0).or_else(implied)
}

fn present<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
