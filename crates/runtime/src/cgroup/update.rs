//! New limits for a group that exists. `None` in a limit leaves it as it is.

use std::{fs, io, path::Path, path::PathBuf};

use model::container::Resources;

use super::Cgroup;

/// A limit was refused.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// By the kernel.
    #[error("the kernel refuses to set {} to {value:?}{}", file.display(), hint(source))]
    Write {
        /// The control file.
        file: PathBuf,
        /// What was written.
        value: String,
        /// Its word.
        #[source]
        source: io::Error,
    },
    /// The machine lacks the controller.
    #[error("the {0} cgroup controller is not available on this machine")]
    Missing(&'static str),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ResourceBusy => ": more is in use than the new limit allows",
        io::ErrorKind::InvalidInput => ": it contradicts another limit or the parent group's",
        io::ErrorKind::NotFound => ": the container does not run",
        _ => "",
    }
}

impl Cgroup {
    /// Sets the limits that `resources` names.
    pub fn update(&self, resources: &Resources) -> Result<(), UpdateError> {
        match self {
            Self::V1(_) => self.update_v1(resources),
            Self::V2(_) => self.update_v2(resources),
        }
    }

    /// Sets the share of block devices, 10 to 1,000.
    pub fn set_block_weight(&self, weight: u16) -> Result<(), UpdateError> {
        match self {
            Self::V1(_) => self.set("blkio", "blkio.weight", Some(weight.to_string())),
            // The scheduler BFQ has a file and a scale of its own.
            Self::V2(dir) if dir.join("io.bfq.weight").exists() => {
                self.set("io", "io.bfq.weight", Some(weight.to_string()))
            }
            Self::V2(_) => self.set("io", "io.weight", Some(io_weight(weight).to_string())),
        }
    }

    fn update_v1(&self, resources: &Resources) -> Result<(), UpdateError> {
        self.update_memory_v1(resources)?;
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let signed = |value: Option<i64>| value.map(|value| value.to_string());
        self.set("memory", "memory.soft_limit_in_bytes", number(resources.memory_reservation))?;
        self.set("cpu", "cpu.shares", number(resources.cpu_shares))?;
        self.set("cpu", "cpu.cfs_period_us", number(resources.cpu_period))?;
        self.set("cpu", "cpu.cfs_quota_us", signed(resources.cpu_quota))?;
        self.set("cpu", "cpu.rt_period_us", number(resources.cpu_realtime_period))?;
        self.set("cpu", "cpu.rt_runtime_us", signed(resources.cpu_realtime_runtime))?;
        self.update_cpuset(resources)?;
        resources.blkio_weight.map_or(Ok(()), |weight| self.set_block_weight(weight))?;
        self.set("pids", "pids.max", resources.pids.map(limit))
    }

    /// Memory alone may never exceed memory and swap together, so the order depends on which way they go.
    fn update_memory_v1(&self, resources: &Resources) -> Result<(), UpdateError> {
        let memory = resources.memory.map(|bytes| bytes.to_string());
        let both = resources.memory_swap.map(|bytes| bytes.to_string());
        let now =
            self.controller("memory").and_then(|dir| fs::read_to_string(dir.join("memory.memsw.limit_in_bytes")).ok());
        let now: u64 = now.and_then(|text| text.trim().parse().ok()).unwrap_or(u64::MAX);
        let grows = resources.memory_swap.is_some_and(|bytes| u64::try_from(bytes).map_or(true, |bytes| bytes > now));
        if grows {
            self.set("memory", "memory.memsw.limit_in_bytes", both)?;
            self.set("memory", "memory.limit_in_bytes", memory)
        } else {
            self.set("memory", "memory.limit_in_bytes", memory)?;
            self.set("memory", "memory.memsw.limit_in_bytes", both)
        }
    }

    fn update_v2(&self, resources: &Resources) -> Result<(), UpdateError> {
        if let (Some(both), Some(memory)) = (resources.memory_swap, resources.memory) {
            let swap = if both < 0 { -1 } else { both.saturating_sub_unsigned(memory).max(0) };
            self.set("memory", "memory.swap.max", Some(limit(swap)))?;
        }
        self.set("memory", "memory.max", resources.memory.map(|bytes| bytes.to_string()))?;
        self.set("memory", "memory.low", resources.memory_reservation.map(|bytes| bytes.to_string()))?;
        self.set("cpu", "cpu.weight", resources.cpu_shares.map(|shares| weight_of_shares(shares).to_string()))?;
        if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
            let quota = limit(resources.cpu_quota.filter(|quota| *quota != 0).unwrap_or(-1));
            let period = resources.cpu_period.unwrap_or(100_000);
            self.set("cpu", "cpu.max", Some(format!("{quota} {period}")))?;
        }
        self.update_cpuset(resources)?;
        resources.blkio_weight.map_or(Ok(()), |weight| self.set_block_weight(weight))?;
        self.set("pids", "pids.max", resources.pids.map(limit))
    }

    fn update_cpuset(&self, resources: &Resources) -> Result<(), UpdateError> {
        self.set("cpuset", "cpuset.cpus", resources.cpuset_cpus.clone())?;
        self.set("cpuset", "cpuset.mems", resources.cpuset_mems.clone())
    }

    fn set(&self, controller: &'static str, file: &str, value: Option<String>) -> Result<(), UpdateError> {
        let Some(value) = value else { return Ok(()) };
        let dir: &Path = self.controller(controller).ok_or(UpdateError::Missing(controller))?;
        let file = dir.join(file);
        fs::write(&file, &value).map_err(|source| UpdateError::Write { file, value, source })
    }
}

/// Docker's "no limit" is zero or negative, the kernel's is a word.
fn limit(value: i64) -> String {
    if value <= 0 { "max".to_owned() } else { value.to_string() }
}

/// v1 shares (2 to 262,144) as v2 weight (1 to 10,000): the curve of runc 1.3.2 and libcontainer, which keeps both ends and the defaults,
/// 1,024 and 100.
fn weight_of_shares(shares: u64) -> u64 {
    // At most 2^18, which is exact.
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil();
    (weight as u64).clamp(1, 10_000)
}

/// v1 block weight (10 to 1,000) as v2 weight (1 to 10,000).
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1_000)) - 10) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_their_ends() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 100, 10_000]);
        assert_eq!([0, 512, 2048].map(weight_of_shares), [1, 59, 174]);
        assert_eq!([10, 500, 1_000].map(io_weight), [1, 4_950, 10_000]);
        assert_eq!([-1, 0, 7].map(limit), ["max", "max", "7"]);
    }
}
