//! What a control group has used, in one shape for cgroup v1 and v2.

use std::{fs, path::Path};

use super::{Cgroup, keyed};

/// What a container has used since it was started, and uses now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Block devices, by device.
    pub block_io: Vec<BlockIo>,
}

/// Processor time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In all.
    pub total_ns: u64,
    /// Of that, in user mode.
    pub user_ns: u64,
    /// Of that, in the kernel.
    pub system_ns: u64,
    /// By processor; empty on cgroup v2.
    pub per_cpu_ns: Vec<u64>,
    /// Scheduler periods that have passed.
    pub periods: u64,
    /// Periods in which the container ran into its limit.
    pub throttled_periods: u64,
    /// Time it waited because of its limit.
    pub throttled_ns: u64,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// In use, page cache included.
    pub usage_bytes: u64,
    /// The most that was in use; none on a kernel that does not count it.
    pub max_usage_bytes: Option<u64>,
    /// The limit; none when unlimited.
    pub limit_bytes: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
    /// Page cache that was not touched lately; tools subtract it from the usage.
    pub inactive_file_bytes: u64,
    /// The kernel's own breakdown (`memory.stat`).
    pub breakdown: Vec<(String, u64)>,
}

/// Processes and threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// How many there may be; none when unlimited.
    pub limit: Option<u64>,
}

/// One block device's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Device number.
    pub major: u64,
    /// Device number.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// v1 writes this many bytes (page aligned) for "no limit".
const V1_UNLIMITED_BYTES: u64 = 1 << 62;
/// `cpuacct.stat` counts in USER_HZ, which is 100 on every Linux.
const TICK_NS: u64 = 10_000_000;

impl Cgroup {
    /// Reads what the group has used. Files that the kernel does not have count as zero.
    pub fn stats(&self) -> Stats {
        match self {
            Self::V1(_) => self.stats_v1(),
            Self::V2(dir) => stats_v2(dir),
        }
    }

    fn stats_v1(&self) -> Stats {
        let text =
            |controller: &str, file: &str| self.controller(controller).map(|dir| read(dir, file)).unwrap_or_default();
        let number = |controller: &str, file: &str| text(controller, file).trim().parse::<u64>().ok();
        let (usage, throttling, memory) =
            (text("cpuacct", "cpuacct.stat"), text("cpu", "cpu.stat"), text("memory", "memory.stat"));
        Stats {
            cpu: Cpu {
                total_ns: number("cpuacct", "cpuacct.usage").unwrap_or(0),
                user_ns: keyed(&usage, "user").unwrap_or(0) * TICK_NS,
                system_ns: keyed(&usage, "system").unwrap_or(0) * TICK_NS,
                per_cpu_ns: text("cpuacct", "cpuacct.usage_percpu")
                    .split_whitespace()
                    .filter_map(|field| field.parse().ok())
                    .collect(),
                periods: keyed(&throttling, "nr_periods").unwrap_or(0),
                throttled_periods: keyed(&throttling, "nr_throttled").unwrap_or(0),
                throttled_ns: keyed(&throttling, "throttled_time").unwrap_or(0),
            },
            memory: Memory {
                usage_bytes: number("memory", "memory.usage_in_bytes").unwrap_or(0),
                max_usage_bytes: number("memory", "memory.max_usage_in_bytes"),
                limit_bytes: number("memory", "memory.limit_in_bytes").filter(|limit| *limit < V1_UNLIMITED_BYTES),
                failures: number("memory", "memory.failcnt").unwrap_or(0),
                inactive_file_bytes: keyed(&memory, "total_inactive_file").unwrap_or(0),
                breakdown: breakdown(&memory),
            },
            pids: Pids { current: number("pids", "pids.current").unwrap_or(0), limit: number("pids", "pids.max") },
            block_io: block_io_v1(
                &text("blkio", "blkio.throttle.io_service_bytes"),
                &text("blkio", "blkio.throttle.io_serviced"),
            ),
        }
    }
}

fn stats_v2(dir: &Path) -> Stats {
    let number = |file: &str| read(dir, file).trim().parse::<u64>().ok();
    let (cpu, memory) = (read(dir, "cpu.stat"), read(dir, "memory.stat"));
    let microseconds = |key: &str| keyed(&cpu, key).unwrap_or(0) * 1000;
    Stats {
        cpu: Cpu {
            total_ns: microseconds("usage_usec"),
            user_ns: microseconds("user_usec"),
            system_ns: microseconds("system_usec"),
            per_cpu_ns: Vec::new(),
            periods: keyed(&cpu, "nr_periods").unwrap_or(0),
            throttled_periods: keyed(&cpu, "nr_throttled").unwrap_or(0),
            throttled_ns: microseconds("throttled_usec"),
        },
        memory: Memory {
            usage_bytes: number("memory.current").unwrap_or(0),
            max_usage_bytes: number("memory.peak"),
            limit_bytes: number("memory.max"),
            failures: keyed(&read(dir, "memory.events"), "max").unwrap_or(0),
            inactive_file_bytes: keyed(&memory, "inactive_file").unwrap_or(0),
            breakdown: breakdown(&memory),
        },
        pids: Pids { current: number("pids.current").unwrap_or(0), limit: number("pids.max") },
        block_io: block_io_v2(&read(dir, "io.stat")),
    }
}

fn read(dir: &Path, file: &str) -> String {
    fs::read_to_string(dir.join(file)).unwrap_or_default()
}

fn breakdown(text: &str) -> Vec<(String, u64)> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Lines of `8:0 Read 4096`.
fn block_io_v1(bytes: &str, operations: &str) -> Vec<BlockIo> {
    let mut devices: Vec<BlockIo> = Vec::new();
    for (text, counts_bytes) in [(bytes, true), (operations, false)] {
        for line in text.lines() {
            let mut fields = line.split(' ');
            let (Some(device), Some(kind), Some(value)) =
                (fields.next().and_then(numbers), fields.next(), fields.next())
            else {
                continue;
            };
            let entry = entry(&mut devices, device);
            let slot = match (kind, counts_bytes) {
                ("Read", true) => &mut entry.read_bytes,
                ("Write", true) => &mut entry.write_bytes,
                ("Read", false) => &mut entry.reads,
                ("Write", false) => &mut entry.writes,
                _ => continue,
            };
            *slot = value.parse().unwrap_or(0);
        }
    }
    devices
}

/// Lines of `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn block_io_v2(text: &str) -> Vec<BlockIo> {
    let mut devices = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let Some(device) = fields.next().and_then(numbers) else { continue };
        let entry = entry(&mut devices, device);
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let value = value.parse().unwrap_or(0);
            match key {
                "rbytes" => entry.read_bytes = value,
                "wbytes" => entry.write_bytes = value,
                "rios" => entry.reads = value,
                "wios" => entry.writes = value,
                _ => {}
            }
        }
    }
    devices
}

fn numbers(device: &str) -> Option<(u64, u64)> {
    let (major, minor) = device.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn entry(devices: &mut Vec<BlockIo>, (major, minor): (u64, u64)) -> &mut BlockIo {
    let index = devices.iter().position(|device| (device.major, device.minor) == (major, minor)).unwrap_or_else(|| {
        devices.push(BlockIo { major, minor, ..BlockIo::default() });
        devices.len() - 1
    });
    &mut devices[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_block_io_read_alike() {
        let expected = [BlockIo { major: 8, minor: 16, read_bytes: 4096, write_bytes: 512, reads: 2, writes: 1 }];
        let v1 = block_io_v1(
            "8:16 Read 4096\n8:16 Write 512\n8:16 Total 4608\nTotal 4608",
            "8:16 Read 2\n8:16 Write 1\nTotal 3",
        );
        assert_eq!(v1, expected);
        assert_eq!(block_io_v2("8:16 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n"), expected);
    }
}
