//! Limits and the restart policy.

use std::fs;

use model::container::{BlockDeviceLimit, BlockLimit, Resources, Restart, Ulimit};

use crate::{
    ApiError,
    wire::host_config::{HostConfig, Limits, RestartPolicy, ThrottleDevice},
};

use super::HostView;

const MEMORY_MIN: i64 = 6 << 20;
const PERIOD_US: i64 = 100_000;
const NANO: i64 = 1_000_000_000;
/// setrlimit(2).
const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Refuses limits out of range.
pub(crate) fn check(limits: &Limits, view: &HostView) -> Result<(), ApiError> {
    let checked = memory(limits).and_then(|()| cpu(limits, view.cpus)).and_then(|()| places(limits, view));
    checked.and_then(|()| others(limits)).map_err(ApiError::invalid)
}

/// How many nodes of memory the host has (NUMA); one where it does not say.
pub(super) fn memory_nodes() -> usize {
    let online = fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
    cpu_list(online.trim()).flatten().map_or(1, |highest| usize::from(highest) + 1)
}

fn memory(limits: &Limits) -> Result<(), String> {
    let Limits { memory, memory_swap: swap, memory_reservation: reservation, .. } = *limits;
    let refuse = |words: &str| Err(words.to_owned());
    if memory != 0 && memory < MEMORY_MIN {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if let Some(swappiness) = limits.memory_swappiness.filter(|value| !(-1..=100).contains(value)) {
        return Err(format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100"));
    }
    if reservation != 0 && reservation < MEMORY_MIN {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    Ok(())
}

fn cpu(limits: &Limits, cpus: usize) -> Result<(), String> {
    let refuse = |words: &str| Err(words.to_owned());
    if limits.nano_cpus > 0 && limits.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if limits.nano_cpus > 0 && limits.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    if limits.nano_cpus < 0 || usize::try_from(limits.nano_cpus / (NANO / 100)).unwrap_or(usize::MAX) > cpus * 100 {
        return Err(format!("Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"));
    }
    if limits.cpu_shares < 0 {
        return Err(format!("invalid CPU shares ({}): value must be a positive integer", limits.cpu_shares));
    }
    if limits.cpu_period != 0 && !(1_000..=1_000_000).contains(&limits.cpu_period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if limits.cpu_quota > 0 && limits.cpu_quota < 1_000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    if limits.cpu_realtime_period < 0 || limits.cpu_realtime_runtime < 0 {
        return refuse("CPU real-time period and runtime cannot be negative");
    }
    if limits.cpu_realtime_period > 0 && limits.cpu_realtime_runtime > limits.cpu_realtime_period {
        return refuse("cpu real-time runtime cannot be higher than cpu real-time period");
    }
    Ok(())
}

/// Refuses processors and nodes of memory that the host has not.
fn places(limits: &Limits, view: &HostView) -> Result<(), String> {
    for (kind, what, wanted, count) in [
        ("cpus", "CPUs", &limits.cpuset_cpus, view.cpus),
        ("mems", "memory nodes", &limits.cpuset_mems, view.memory_nodes),
    ] {
        let invalid = || format!("Invalid value {wanted} for cpuset {kind}: invalid format: {wanted}");
        let highest = cpu_list(wanted).ok_or_else(invalid)?;
        if highest.is_some_and(|highest| usize::from(highest) >= count) {
            let available = if count > 1 { format!("0-{}", count - 1) } else { "0".to_owned() };
            return Err(format!("Requested {what} are not available - requested {wanted}, available: {available}"));
        }
    }
    Ok(())
}

fn others(limits: &Limits) -> Result<(), String> {
    if limits.blkio_weight > 0 && !(10..=1_000).contains(&limits.blkio_weight) {
        return Err("Range of blkio weight is from 10 to 1000".to_owned());
    }
    for device in limits.blkio_weight_device.iter().flatten() {
        if device.weight > 0 && !(10..=1_000).contains(&device.weight) {
            return Err(format!("Range of blkio weight of {} is from 10 to 1000", device.path));
        }
    }
    if limits.kernel_memory_tcp > 0 {
        return Err("limits of kernel TCP memory are not supported: limit the memory instead".to_owned());
    }
    if limits.cpu_count != 0
        || limits.cpu_percent != 0
        || limits.io_maximum_iops != 0
        || limits.io_maximum_bandwidth != 0
    {
        return Err("CpuCount, CpuPercent, IOMaximumIOps and IOMaximumBandwidth are for Windows containers".to_owned());
    }
    if limits.device_requests.iter().flatten().next().is_some() {
        return Err("could not select device driver: device requests (--gpus) are not supported".to_owned());
    }
    for ulimit in limits.ulimits.iter().flatten() {
        if !ULIMITS.contains(&ulimit.name.to_ascii_lowercase().as_str()) {
            return Err(format!("invalid ulimit type: {}", ulimit.name));
        }
        if ulimit.hard != -1 && (ulimit.soft > ulimit.hard || ulimit.soft == -1) {
            let (soft, hard) = (ulimit.soft, ulimit.hard);
            return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
        }
    }
    Ok(())
}

/// Reads `0-2,7`; the highest number in it, none if it is empty. None outside means it is no such list.
fn cpu_list(text: &str) -> Option<Option<u16>> {
    let mut highest = None;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last {
            return None;
        }
        highest = highest.max(Some(last));
    }
    Some(highest)
}

/// The limits, of which zero means none.
pub(crate) fn limits(host: &HostConfig) -> Resources {
    let limits = &host.limits;
    let some = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let (period, quota) = if limits.nano_cpus > 0 {
        // Nano CPUs times 100 ms are at most thousands of CPUs: far from overflow after the division.
        (PERIOD_US, limits.nano_cpus / (NANO / PERIOD_US))
    } else {
        (limits.cpu_period, limits.cpu_quota)
    };
    Resources {
        memory: some(limits.memory),
        memory_swap: Some(limits.memory_swap).filter(|swap| *swap != 0),
        memory_reservation: some(limits.memory_reservation),
        memory_swappiness: limits.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        oom_kill_disable: limits.oom_kill_disable,
        cpu_shares: some(limits.cpu_shares),
        cpu_period: some(period),
        cpu_quota: Some(quota).filter(|quota| *quota != 0),
        cpu_realtime_period: some(limits.cpu_realtime_period),
        cpu_realtime_runtime: Some(limits.cpu_realtime_runtime).filter(|runtime| *runtime != 0),
        cpuset_cpus: text(&limits.cpuset_cpus),
        cpuset_mems: text(&limits.cpuset_mems),
        pids: limits.pids_limit,
        blkio_weight: Some(limits.blkio_weight).filter(|weight| *weight != 0),
        block_devices: block_devices(limits),
        cgroup_parent: text(&limits.cgroup_parent),
        ulimits: limits
            .ulimits
            .iter()
            .flatten()
            .map(|ulimit| Ulimit { name: ulimit.name.to_ascii_lowercase(), soft: ulimit.soft, hard: ulimit.hard })
            .collect(),
        shm_size: if host.ipc_mode == "none" { Some(0) } else { some(host.shm_size) },
    }
}

fn block_devices(limits: &Limits) -> Vec<BlockDeviceLimit> {
    let limit = |path: &str, what, value: u64| BlockDeviceLimit { path: path.into(), what, value };
    let weights = limits.blkio_weight_device.iter().flatten();
    let weights = weights.map(|device| limit(&device.path, BlockLimit::Weight, device.weight.into()));
    let throttle = |list: &Option<Vec<ThrottleDevice>>, what| -> Vec<BlockDeviceLimit> {
        list.iter().flatten().map(|device| limit(&device.path, what, device.rate)).collect()
    };
    let throttles = [
        throttle(&limits.blkio_device_read_bps, BlockLimit::ReadBytes),
        throttle(&limits.blkio_device_write_bps, BlockLimit::WriteBytes),
        throttle(&limits.blkio_device_read_iops, BlockLimit::ReadOperations),
        throttle(&limits.blkio_device_write_iops, BlockLimit::WriteOperations),
    ];
    weights.chain(throttles.into_iter().flatten()).filter(|limit| limit.value > 0).collect()
}

/// The policy; one that was not checked reads as none.
pub(crate) fn restart(policy: &RestartPolicy) -> Restart {
    match policy.name.as_str() {
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure { most: u32::try_from(policy.maximum_retry_count).unwrap_or(0) },
        _ => Restart::No,
    }
}
