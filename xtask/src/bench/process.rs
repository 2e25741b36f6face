//! What /proc says of a process. One that has ended has nothing.

use std::fs;

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

fn kib(path: &str, key: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse().ok());
    value.unwrap_or(0.0)
}
