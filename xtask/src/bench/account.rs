//! A control group that an engine's processes are born into: it says how much CPU all of them took, those that ended too.
//!
//! Containers are not in it: every engine moves them to groups of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::run::Result;

/// How long a group may take to become empty once its processes were killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the names of the bench's groups begin with; the bench's process id follows.
const PREFIX: &str = "linkspan-bench-";

/// Podman's group for its containers, which cannot be chosen.
const PODMANS: &str = "libpod_parent";

/// The control group.
pub struct Account {
    name: String,
    dir: PathBuf,
}

impl Account {
    /// Makes the group for an engine, and takes away what a bench that was killed left.
    pub fn open(engine: &str) -> Result<Self> {
        remove_groups(Duration::ZERO, |name| {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        });
        let name = format!("{PREFIX}{}-{engine}", std::process::id());
        // The first two where version 1 is used, also beside version 2; the last where there is version 2 alone.
        let roots = ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];
        let root = roots.into_iter().map(Path::new).find(|root| root.join("cgroup.procs").exists());
        let dir = root.ok_or("no control groups are mounted at /sys/fs/cgroup")?.join(&name);
        fs::create_dir_all(&dir).map_err(|e| format!("cannot make the control group {}: {e}", dir.display()))?;
        Ok(Self { name, dir })
    }

    /// The group that containers can be put under; it goes with the account.
    pub fn containers(&self) -> String {
        format!("{}-containers", self.name)
    }

    /// The file that a process writes `0` to in order to enter.
    pub fn door(&self) -> String {
        self.dir.join("cgroup.procs").to_string_lossy().into_owned()
    }

    /// CPU that all its processes ever took, in milliseconds.
    pub fn cpu_ms(&self) -> Result<f64> {
        if let Ok(usage_ns) = fs::read_to_string(self.dir.join("cpuacct.usage")) {
            return usage_ns.trim().parse().map(|ns: f64| ns / 1e6).map_err(|e| format!("cpuacct.usage: {e}"));
        }
        let stat = self.read("cpu.stat")?;
        let usage_us = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse::<f64>().ok());
        usage_us.map(|us| us / 1e3).ok_or_else(|| format!("no usage_usec in {}", self.dir.join("cpu.stat").display()))
    }

    /// Its processes now.
    pub fn pids(&self) -> Result<Vec<u32>> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.dir.join(file);
        fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let containers = self.containers();
        remove_groups(PATIENCE, |name| name == self.name || name == containers);
        if self.name.ends_with("podman") {
            remove_groups(Duration::ZERO, |name| name == PODMANS);
        }
    }
}

/// Removes groups by their names from every hierarchy.
fn remove_groups(patience: Duration, chosen: impl Fn(&str) -> bool) {
    let inside = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let root = Path::new("/sys/fs/cgroup");
    for hierarchy in inside(root).chain([root.to_owned()]) {
        let groups =
            inside(&hierarchy).filter(|dir| dir.file_name().and_then(|name| name.to_str()).is_some_and(&chosen));
        groups.for_each(|dir| remove(&dir, patience));
    }
}

/// Removes a group and those in it, once their processes have ended; it stays when they do not in time.
fn remove(dir: &Path, patience: Duration) {
    for inner in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove(&inner.path(), patience);
    }
    let deadline = Instant::now() + patience;
    while dir.exists() && fs::remove_dir(dir).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
}
