//! Limits in the OCI's words.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use model::container::{BlockLimit, Resources};
use rustix::fs::{major, minor};
use serde_json::{Map, Value, json};

use super::OciError;

/// The limits that are set, without the device rules.
pub fn of(resources: &Resources) -> Result<Value, OciError> {
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
    let block = block(resources)?;
    if !block.is_empty() {
        value.insert("blockIO".to_owned(), block.into());
    }
    Ok(value.into())
}

/// Block devices, of which the kernel wants the numbers.
fn block(resources: &Resources) -> Result<Map<String, Value>, OciError> {
    let mut block = present([("weight", resources.blkio_weight.map(Into::into))]);
    for limit in &resources.block_devices {
        let refused = |source| OciError::BlockDevice { path: limit.path.clone(), source };
        let (major, minor) = numbers(&limit.path).map_err(refused)?;
        let (list, key) = match limit.what {
            BlockLimit::Weight => ("weightDevice", "weight"),
            BlockLimit::ReadBytes => ("throttleReadBpsDevice", "rate"),
            BlockLimit::WriteBytes => ("throttleWriteBpsDevice", "rate"),
            BlockLimit::ReadOperations => ("throttleReadIOPSDevice", "rate"),
            BlockLimit::WriteOperations => ("throttleWriteIOPSDevice", "rate"),
        };
        let entry = block.entry(list).or_insert_with(|| json!([]));
        if let Value::Array(list) = entry {
            list.push(json!({"major": major, "minor": minor, key: limit.value}));
        }
    }
    Ok(block)
}

fn numbers(path: &Path) -> io::Result<(u32, u32)> {
    let found = fs::metadata(path)?;
    if !found.file_type().is_block_device() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a block device"));
    }
    Ok((major(found.rdev()), minor(found.rdev())))
}

/// Docker's rule: a memory limit alone allows as much swap again.
fn swap(resources: &Resources) -> Option<i64> {
    let implied = || resources.memory.and_then(|memory| i64::try_from(memory).ok()?.checked_mul(2));
    resources.memory_swap.filter(|swap| *swap != 0).or_else(implied)
}

fn present<const N: usize>(entries: [(&str, Option<Value>); N]) -> Map<String, Value> {
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
