//! What the host says of itself: names, versions, sizes, what its control groups can do. Read anew each time: it is asked seldom.

use std::{fs, path::Path};

use crate::ApiError;

/// The host, as `docker info` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Host {
    /// Its name.
    pub(super) name: String,
    /// `6.1.0-18-amd64`.
    pub(super) kernel: String,
    /// `x86_64`.
    pub(super) machine: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub(super) system: String,
    /// `12`.
    pub(super) system_version: String,
    /// An identity that stays.
    pub(super) id: String,
    /// Processors that this process may use.
    pub(super) processors: usize,
    /// Bytes.
    pub(super) memory: u64,
    /// Control groups.
    pub(super) cgroup: Cgroup,
    /// Whether the host forwards IPv4.
    pub(super) forwards_ipv4: bool,
    /// Descriptors that this process has open.
    pub(super) descriptors: usize,
}

/// What control groups can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cgroup {
    /// `1` or `2`.
    pub(super) version: &'static str,
    /// Limits of memory.
    pub(super) memory: bool,
    /// Limits of swap.
    pub(super) swap: bool,
    /// Whether the out-of-memory killer can be held off.
    pub(super) oom_kill_disable: bool,
    /// Shares, periods and quotas of processors.
    pub(super) cpu: bool,
    /// Sets of processors.
    pub(super) cpuset: bool,
    /// Limits of processes.
    pub(super) pids: bool,
}

/// Reads it all. What cannot be read is left empty.
pub(super) fn read() -> Result<Host, ApiError> {
    let uname = rustix::system::uname();
    let os_release = text("/etc/os-release").or_else(|| text("/usr/lib/os-release")).unwrap_or_default();
    let lossy = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    Ok(Host {
        name: lossy(uname.nodename()),
        kernel: lossy(uname.release()),
        machine: lossy(uname.machine()),
        system: field(&os_release, "PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned()),
        system_version: field(&os_release, "VERSION_ID").unwrap_or_default(),
        id: text("/etc/machine-id").map(|id| id.trim().to_owned()).unwrap_or_default(),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory: text("/proc/meminfo").and_then(|text| memory(&text)).unwrap_or_default(),
        cgroup: cgroup(Path::new("/sys/fs/cgroup")),
        forwards_ipv4: text("/proc/sys/net/ipv4/ip_forward").is_some_and(|text| text.trim() == "1"),
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
    })
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// `http://user:secret@proxy` is shown as `http://xxxxx:xxxxx@proxy`.
pub(super) fn without_password(url: &str) -> String {
    let masked = || {
        let (scheme, rest) = url.split_once("://")?;
        let (_, host) = rest.rsplit_once('@')?;
        Some(format!("{scheme}://xxxxx:xxxxx@{host}"))
    };
    masked().unwrap_or_else(|| url.to_owned())
}

/// A field of os-release(5), without its quotes.
fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// `MemTotal` of proc_meminfo(5), in bytes.
fn memory(text: &str) -> Option<u64> {
    let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(kibibytes.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

/// Version 2 lists its controllers in the root; version 1 has a directory for each.
fn cgroup(root: &Path) -> Cgroup {
    match fs::read_to_string(root.join("cgroup.controllers")) {
        Ok(controllers) => {
            let has = |name| controllers.split_whitespace().any(|one| one == name);
            Cgroup {
                version: "2",
                memory: has("memory"),
                swap: has("memory"),
                oom_kill_disable: false,
                cpu: has("cpu"),
                cpuset: has("cpuset"),
                pids: has("pids"),
            }
        }
        Err(_) => {
            let has = |file: &str| root.join(file).exists();
            Cgroup {
                version: "1",
                memory: has("memory/memory.limit_in_bytes"),
                swap: has("memory/memory.memsw.limit_in_bytes"),
                oom_kill_disable: has("memory/memory.oom_control"),
                cpu: has("cpu/cpu.shares"),
                cpuset: has("cpuset/cpuset.cpus"),
                pids: has("pids"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let os_release =
            "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n";
        assert_eq!(field(os_release, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(field(os_release, "ID").as_deref(), Some("debian"));
        assert_eq!(field(os_release, "VERSION"), None);
        assert_eq!(memory("MemTotal:        8142432 kB\nMemFree: 1 kB\n"), Some(8_142_432 * 1024));
        assert_eq!(memory(""), None);
        assert_eq!(without_password("http://me:secret@proxy:3128"), "http://xxxxx:xxxxx@proxy:3128");
        assert_eq!(without_password("http://proxy:3128"), "http://proxy:3128");
    }

    #[test]
    fn both_versions_of_control_groups_are_known() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("memory")).unwrap();
        std::fs::write(root.path().join("memory/memory.limit_in_bytes"), "").unwrap();
        assert_eq!(cgroup(root.path()), Cgroup { version: "1", memory: true, ..Cgroup::default() });
        std::fs::write(root.path().join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let all = Cgroup {
            version: "2",
            memory: true,
            swap: true,
            oom_kill_disable: false,
            cpu: true,
            cpuset: true,
            pids: true,
        };
        assert_eq!(cgroup(root.path()), all);
    }
}
