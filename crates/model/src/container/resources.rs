//! What a container may use: its limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Limits. Nothing means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 for no limit of swap.
    pub memory_swap: Option<i64>,
    /// Bytes that are kept when memory is short.
    pub memory_reservation: Option<u64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Whether the kernel may kill its processes when memory is short.
    pub oom_kill_disable: Option<bool>,
    /// Weight, 1,024 is usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds of each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds of each real-time period.
    pub cpu_realtime_period: Option<u64>,
    /// Microseconds of real-time work.
    pub cpu_realtime_runtime: Option<i64>,
    /// As in `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// As in `0,1`.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 or less for no limit.
    pub pids: Option<i64>,
    /// Weight, 10 to 1,000.
    pub blkio_weight: Option<u16>,
    /// Limits of single block devices.
    pub block_devices: Vec<BlockDeviceLimit>,
    /// Absolute path of the parent control group.
    pub cgroup_parent: Option<String>,
    /// setrlimit(2): name without `RLIMIT_` in lower case, soft, hard.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`; none means 64 MiB, 0 that there is no such place.
    pub shm_size: Option<u64>,
}

/// A limit of one block device of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDeviceLimit {
    /// On the host.
    pub path: PathBuf,
    /// What is limited.
    pub what: BlockLimit,
    /// A weight of 10 to 1,000, bytes, or operations, a second.
    pub value: u64,
}

/// What is limited of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockLimit {
    /// The share among those who want it.
    Weight,
    /// Bytes read in a second.
    ReadBytes,
    /// Bytes written in a second.
    WriteBytes,
    /// Reads in a second.
    ReadOperations,
    /// Writes in a second.
    WriteOperations,
}

/// A limit of setrlimit(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `nofile`.
    pub name: String,
    /// -1 for none.
    pub soft: i64,
    /// -1 for none.
    pub hard: i64,
}
