//! One container's control group, on cgroup v2 and on v1 (also v1 beside an unused v2): who is in it, freezing,
//! killing, removing, what was used, new limits, and device rules. Its first limits are the OCI runtime's work.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst`.

mod devices;
mod entrance;
pub mod parents;
mod stats;
mod update;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

pub use devices::DevicesError;
pub use entrance::Entrances;
pub use stats::{BlockIo, Cpu, Memory, Pids, Stats};
pub use update::UpdateError;

/// How long processes may take to die after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A container's control group; it need not exist (any more).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup {
    /// One directory in each controller's own tree.
    V1(BTreeMap<String, PathBuf>),
    /// One directory.
    V2(PathBuf),
}

impl Cgroup {
    /// The group at `path` (absolute within the hierarchy, like `/linkspan/<id>`).
    pub fn at(path: &str) -> io::Result<Self> {
        Ok(Self::in_mounts(&fs::read_to_string("/proc/self/mountinfo")?, path))
    }

    /// The same from the text of a mountinfo: v2 counts when it is the only hierarchy.
    fn in_mounts(mountinfo: &str, path: &str) -> Self {
        let relative = path.trim_start_matches('/');
        let mut v1 = BTreeMap::new();
        let mut v2 = None;
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let point = left.split(' ').nth(4).unwrap_or_default();
            let mut right = right.split(' ');
            match right.next() {
                Some("cgroup2") => v2 = v2.or(Some(Path::new(point).join(relative))),
                Some("cgroup") => {
                    let controllers = right.nth(1).unwrap_or_default().split(',');
                    for controller in controllers.filter(|name| V1_CONTROLLERS.contains(name)) {
                        v1.entry(controller.to_owned()).or_insert_with(|| Path::new(point).join(relative));
                    }
                }
                _ => {}
            }
        }
        match v2 {
            Some(path) if v1.is_empty() => Self::V2(path),
            _ => Self::V1(v1),
        }
    }

    /// All processes in the group and the groups below it, in no order. Empty when it does not exist.
    pub fn processes(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.roots().flat_map(|root| subtree(root)).flat_map(|dir| pids_in(&dir)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Where a process may join that goes beside `pid`, as a path below the group; none for the group itself. A group of v2 that hands
    /// controllers on, as a container's does in which containers are, takes no process.
    pub fn beside(&self, pid: u32) -> Option<PathBuf> {
        let Self::V2(dir) = self else { return None };
        let handed_on = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        if handed_on.trim().is_empty() {
            return None;
        }
        let its = subtree(dir).into_iter().find(|group| pids_in(group).contains(&pid))?;
        its.strip_prefix(dir).ok().filter(|below| !below.as_os_str().is_empty()).map(Path::to_owned)
    }

    /// Stops (`true`) or resumes every process of the group, and returns when that is done.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let deadline = Instant::now() + KILL_LIMIT;
        match self {
            Self::V2(dir) => {
                fs::write(dir.join("cgroup.freeze"), if frozen { "1" } else { "0" })?;
                let wanted = if frozen { "frozen 1" } else { "frozen 0" };
                poll_until(deadline, || Ok(fs::read_to_string(dir.join("cgroup.events"))?.contains(wanted)))
            }
            Self::V1(dirs) => {
                let dir = dirs.get("freezer").ok_or_else(|| {
                    io::Error::other("the freezer cgroup is not mounted: containers cannot be paused")
                })?;
                let (file, wanted) = (dir.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" });
                poll_until(deadline, || {
                    // Writing again is how the kernel asks to be pushed when a process resists for a moment.
                    fs::write(&file, wanted)?;
                    Ok(fs::read_to_string(&file)?.trim() == wanted)
                })
            }
        }
    }

    /// Kills every process of the group and waits until none is left.
    pub fn kill(&self) -> io::Result<()> {
        let deadline = Instant::now() + KILL_LIMIT;
        if self.processes().is_empty() {
            return Ok(());
        }
        // A frozen process does not die (v1).
        let _ = self.freeze(false);
        poll_until(deadline, || {
            let pids = self.processes();
            if let Self::V2(dir) = self {
                let _ = fs::write(dir.join("cgroup.kill"), "1");
            }
            for pid in &pids {
                if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            Ok(pids.is_empty())
        })
    }

    /// Removes the group and those below it, and those above it that were made for it alone. Its processes must be gone.
    pub fn remove(&self) -> io::Result<()> {
        let deadline = Instant::now() + KILL_LIMIT;
        for root in self.roots() {
            // The children come after their parents, so they are removed from the end.
            for dir in subtree(root).iter().rev() {
                poll_until(deadline, || match fs::remove_dir(dir) {
                    Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
                    Err(error) => Err(error),
                    Ok(()) => Ok(true),
                })?;
            }
        }
        self.remove_parents();
        Ok(())
    }

    /// How many processes the kernel has killed because the group's memory limit was reached.
    pub fn oom_kills(&self) -> u64 {
        let file = match self {
            Self::V2(dir) => dir.join("memory.events"),
            Self::V1(dirs) => match dirs.get("memory") {
                Some(dir) => dir.join("memory.oom_control"),
                None => return 0,
            },
        };
        fs::read_to_string(file).ok().and_then(|text| keyed(&text, "oom_kill")).unwrap_or(0)
    }

    fn roots(&self) -> Box<dyn Iterator<Item = &PathBuf> + '_> {
        match self {
            Self::V1(dirs) => Box::new(dirs.values()),
            Self::V2(dir) => Box::new(std::iter::once(dir)),
        }
    }

    /// The directory in which a controller's files are.
    fn controller(&self, name: &str) -> Option<&Path> {
        match self {
            Self::V1(dirs) => dirs.get(name).map(PathBuf::as_path),
            Self::V2(dir) => Some(dir),
        }
    }
}

/// The controllers of v1 in which libcontainer makes a group.
const V1_CONTROLLERS: [&str; 12] = [
    "blkio",
    "cpu",
    "cpuacct",
    "cpuset",
    "devices",
    "freezer",
    "hugetlb",
    "memory",
    "net_cls",
    "net_prio",
    "perf_event",
    "pids",
];

/// A directory and all below it, parents first.
fn subtree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        if let Ok(entries) = fs::read_dir(&dir) {
            let entries = entries.filter_map(Result::ok);
            open.extend(
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
            );
            found.push(dir);
        }
    }
    found
}

fn pids_in(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // Zero stands for a process of another pid namespace.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// The number behind `key ` in a file of such lines.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn poll_until(deadline: Instant, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let mut pause = Duration::from_micros(100);
    while !done()? {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_joins_where_its_group_allows() {
        let root = tempfile::tempdir().unwrap();
        let group = Cgroup::V2(root.path().to_owned());
        let write = |file: &str, text: &str| {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("cgroup.procs", "7\n");
        write("cgroup.subtree_control", "\n");
        assert_eq!(group.beside(7), None);
        write("cgroup.procs", "");
        write("cgroup.subtree_control", "memory pids\n");
        write("init/cgroup.procs", "7\n8\n");
        write("linkspan/x/cgroup.procs", "9\n");
        assert_eq!(group.beside(7), Some("init".into()));
        assert_eq!(group.beside(9), Some("linkspan/x".into()));
        assert_eq!(group.beside(10), None);
    }

    #[test]
    fn the_hierarchy_is_read_from_the_mounts() {
        let v2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw";
        assert_eq!(Cgroup::in_mounts(v2, "/linkspan/a"), Cgroup::V2("/sys/fs/cgroup/linkspan/a".into()));
        let hybrid = "1 2 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
            2 2 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            3 2 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let both = PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/linkspan/a");
        let expected = BTreeMap::from([("cpu".to_owned(), both.clone()), ("cpuacct".to_owned(), both)]);
        assert_eq!(Cgroup::in_mounts(hybrid, "/linkspan/a"), Cgroup::V1(expected));
    }
}
