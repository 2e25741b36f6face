//! `HostConfig`: what a container may use of its host, as it is sent and shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{mount::Mount, null_default, port::PortBindings};

/// What a container may use of its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    pub(crate) binds: Option<Vec<String>>,
    #[serde(rename = "ContainerIDFile", deserialize_with = "null_default")]
    pub(crate) container_id_file: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) log_config: LogConfig,
    #[serde(deserialize_with = "null_default")]
    pub(crate) network_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) port_bindings: PortBindings,
    #[serde(deserialize_with = "null_default")]
    pub(crate) restart_policy: RestartPolicy,
    #[serde(deserialize_with = "null_default")]
    pub(crate) auto_remove: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) volume_driver: String,
    pub(crate) volumes_from: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) console_size: [u16; 2],
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) cap_add: Option<Vec<String>>,
    pub(crate) cap_drop: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cgroupns_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) dns: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) dns_options: Vec<String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) dns_search: Vec<String>,
    pub(crate) extra_hosts: Option<Vec<String>>,
    pub(crate) group_add: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) ipc_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cgroup: String,
    pub(crate) links: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) oom_score_adj: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) pid_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) privileged: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) publish_all_ports: bool,
    #[serde(deserialize_with = "null_default")]
    pub(crate) readonly_rootfs: bool,
    pub(crate) security_opt: Option<Vec<String>>,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) storage_opt: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode", deserialize_with = "null_default")]
    pub(crate) uts_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) userns_mode: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) shm_size: i64,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) runtime: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) isolation: String,
    #[serde(deserialize_with = "null_default", skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<Mount>,
    pub(crate) masked_paths: Option<Vec<String>>,
    pub(crate) readonly_paths: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<bool>,
    /// The limits, which stand in line with the rest.
    #[serde(flatten)]
    pub(crate) limits: Limits,
}

/// Limits of a container: part of `HostConfig`, and all of an update but its restart policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Limits {
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_shares: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) memory: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) nano_cpus: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cgroup_parent: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) blkio_weight: u16,
    pub(crate) blkio_weight_device: Option<Vec<WeightDevice>>,
    pub(crate) blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    pub(crate) blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub(crate) blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub(crate) blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_period: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_quota: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_realtime_period: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_realtime_runtime: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpuset_cpus: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpuset_mems: String,
    pub(crate) devices: Option<Vec<Device>>,
    pub(crate) device_cgroup_rules: Option<Vec<String>>,
    pub(crate) device_requests: Option<Vec<Value>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) memory_reservation: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) memory_swap: i64,
    pub(crate) memory_swappiness: Option<i64>,
    pub(crate) oom_kill_disable: Option<bool>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) ulimits: Option<Vec<Ulimit>>,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_count: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps", deserialize_with = "null_default")]
    pub(crate) io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth", deserialize_with = "null_default")]
    pub(crate) io_maximum_bandwidth: u64,
    /// Read so that it can be refused; never shown.
    #[serde(rename = "KernelMemoryTCP", deserialize_with = "null_default", skip_serializing)]
    pub(crate) kernel_memory_tcp: i64,
    /// The same; gone from the API in 1.42, and then only discarded.
    #[serde(deserialize_with = "null_default", skip_serializing)]
    pub(crate) kernel_memory: i64,
}

/// The share of a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct WeightDevice {
    #[serde(deserialize_with = "null_default")]
    pub(crate) path: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) weight: u16,
}

/// Bytes or operations of a block device in a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ThrottleDevice {
    #[serde(deserialize_with = "null_default")]
    pub(crate) path: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) rate: u64,
}

/// Where output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct LogConfig {
    #[serde(rename = "Type", deserialize_with = "null_default")]
    pub(crate) driver: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) config: BTreeMap<String, String>,
}

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct RestartPolicy {
    #[serde(deserialize_with = "null_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) maximum_retry_count: i64,
}

/// A device of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Device {
    #[serde(deserialize_with = "null_default")]
    pub(crate) path_on_host: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) path_in_container: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) cgroup_permissions: String,
}

/// A limit of setrlimit(2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Ulimit {
    #[serde(deserialize_with = "null_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "null_default")]
    pub(crate) hard: i64,
    #[serde(deserialize_with = "null_default")]
    pub(crate) soft: i64,
}
