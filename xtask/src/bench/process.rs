//! What /proc says of a process. One that has ended has nothing.

use std::{fs, path::PathBuf};

/// Resident memory in bytes (proc_pid_status(5)).
pub fn rss_bytes(pid: u32) -> f64 {
    kib(&format!("/proc/{pid}/status"), "VmRSS:") * 1024.0
}

/// Memory that no other process shares, in bytes (proc_pid_smaps(5)).
pub fn private_bytes(pid: u32) -> f64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    (kib(&path, "Private_Clean:") + kib(&path, "Private_Dirty:")) * 1024.0
}

/// Its arguments.
pub fn arguments(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Its first child.
pub fn child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Milliseconds of CPU that its threads of this name ever took (`/proc/PID/task/TID/schedstat`, sched-stats of the kernel's documents).
pub fn thread_cpu_ms(pid: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = |thread: &PathBuf| fs::read_to_string(thread.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let spent_ns = |thread: PathBuf| {
        let stat = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
        stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0)
    };
    threads.filter(is_it).map(spent_ns).sum::<f64>() / 1e6
}

fn kib(path: &str, key: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0.0)
}
