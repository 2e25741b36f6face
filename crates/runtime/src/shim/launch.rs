//! What a shim is told: the shape of `launch.json`, written by the daemon before it starts the shim, and the shape of
//! an exec. And what a shim tells whoever comes later: the shape of `state.json`. No behaviour beyond reading and writing.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use oci_spec::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{Cgroup, parents::USUAL},
    oci::user::Identity,
    shim::protocol::Exit,
};

/// Clock ticks in a second as `/proc` counts them, the same on every architecture that we run on (time(7)).
const USER_HZ: f64 = 100.0;

/// File names inside a container's run directory.
pub mod file {
    /// [`super::Launch`].
    pub const LAUNCH: &str = "launch.json";
    /// [`super::State`].
    pub const STATE: &str = "state.json";
    /// The socket on which the shim listens.
    pub const SOCKET: &str = "sock";
    /// Where the container's root is mounted, in the shim's own mount namespace only.
    pub const ROOTFS: &str = "rootfs";
    /// Where another container's `/dev/shm` is mounted when it is shared, in the shim's own mount namespace only.
    pub const SHM: &str = "shm";
    /// Where device nodes for places outside of `/dev` are, in the shim's own mount namespace only.
    pub const DEVICES: &str = "devices";
    /// Where file systems of volumes are mounted, each by its volume's name, in the shim's own mount namespace only.
    pub const VOLUMES: &str = "volumes";
    /// Where the hierarchies of cgroup v1 are once processes have joined the container, in the shim's own mount namespace only.
    pub const HIERARCHIES: &str = "hierarchies";
    /// The OCI bundle's configuration as the OCI runtime reads it.
    pub const CONFIG: &str = "config.json";
    /// What the shim itself had to say, normally nothing.
    pub const SHIM_LOG: &str = "shim.log";
}

/// One container to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The container's id; also the name of its run directory and of its cgroup.
    pub id: String,
    /// Everything the OCI runtime is to do. Root path and user are set by the shim.
    pub spec: Spec,
    /// Who its first process is; looked up in the root filesystem.
    pub identity: Identity,
    /// Where the root filesystem comes from.
    pub rootfs: Rootfs,
    /// File systems of volumes.
    #[serde(default)]
    pub filesystems: Vec<Filesystem>,
    /// What feeds standard input.
    pub stdin: Stdin,
    /// Where output is kept.
    pub log: LogDriver,
    /// A process whose `/dev/shm` the container shares.
    pub shm_of: Option<u32>,
    /// The program that makes the container.
    pub runtime: OciRuntime,
}

/// Where a root filesystem comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// Layers under one writable directory (Linux overlayfs).
    Overlay {
        /// Read-only directories, the topmost first.
        lower: Vec<PathBuf>,
        /// Where changes are written.
        upper: PathBuf,
        /// An empty directory on the same filesystem as `upper`.
        work: PathBuf,
    },
    /// A plain directory.
    Directory(PathBuf),
}

/// A file system of a volume: one mount, which all containers share that use the volume at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// The volume.
    pub volume: String,
    /// Its type, as mount(8) takes it.
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// mount(8) options.
    pub options: Vec<String>,
    /// The containers that may have it mounted, by id. Without one it is mounted anew.
    pub mounted_by: Vec<String>,
}

/// What feeds the standard input of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Null,
    /// Attachers; it stays open when they leave.
    Open,
    /// Attachers; it is closed when the first that writes leaves.
    Once,
}

/// Where the output of a container is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    /// Nowhere.
    None,
    /// Docker's `json-file`.
    JsonFile {
        /// The file; rotated ones get `.1`, `.2` appended.
        path: PathBuf,
        /// A file that has reached this size is rotated.
        max_size_bytes: Option<u64>,
        /// How many files are kept, the current one included (at least 1).
        max_files: u32,
        /// What every entry says besides.
        #[serde(default)]
        attrs: BTreeMap<String, String>,
    },
}

/// The program that makes the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OciRuntime {
    /// The one built in.
    BuiltIn,
    /// A program with runc's command line.
    Program(PathBuf),
}

/// One more process to run in a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecLaunch {
    /// The process; `terminal` says whether it gets one.
    pub process: Process,
    /// Who it is; looked up in the root filesystem.
    pub identity: Identity,
    /// Standard input comes from the connection; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// Run without the container's seccomp profile (a privileged exec).
    pub unconfined: bool,
}

/// A process, named so that a recycled process id is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Process id in the host's namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot, `proc_pid_stat(5)` field 22.
    pub start_ticks: u64,
}

/// Where a container stands, as its shim last wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The shim.
    pub shim: ProcessName,
    /// The container's first process.
    pub process: Option<ProcessName>,
    /// When it was started, in milliseconds since the Unix epoch; none before.
    pub started_ms: Option<u64>,
    /// How it ended; none while it lives.
    pub exit: Option<Exit>,
}

impl ProcessName {
    /// Names a process that exists now.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let start_ticks = stat
            .rsplit_once(") ")
            .and_then(|(_, fields)| fields.split(' ').nth(19))
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected /proc/PID/stat"))?;
        Ok(Self { pid, start_ticks })
    }

    /// How long ago it began, whatever was done to the host's clock meanwhile.
    pub fn age(&self) -> io::Result<Duration> {
        let uptime = fs::read_to_string("/proc/uptime")?;
        let uptime_s: f64 = uptime.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or_default();
        let began_s = self.start_ticks as f64 / USER_HZ;
        Ok(Duration::try_from_secs_f64(uptime_s - began_s).unwrap_or_default())
    }

    /// Whether that process, and not a later one with its id, still exists (a zombie does not count).
    pub fn lives(&self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == *self) && !self.is_in(['Z', 'X'])
    }

    /// Whether somebody has stopped it: it does nothing until it is told to go on.
    pub fn is_stopped(&self) -> bool {
        self.lives() && self.is_in(['T', 't'])
    }

    /// Whether its state is one of these, `proc_pid_stat(5)` field 3.
    fn is_in(&self, states: [char; 2]) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(states))
    }
}

impl Launch {
    /// Reads the launch of a run directory.
    pub fn read(dir: &Path) -> io::Result<Self> {
        read_json(&dir.join(file::LAUNCH))
    }

    /// Writes the launch into a run directory.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_json(&dir.join(file::LAUNCH), self)
    }

    /// The container's control group, which need not exist yet.
    pub fn cgroup(&self) -> io::Result<Cgroup> {
        let path = self.spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone());
        Cgroup::at(&path.unwrap_or_else(|| Path::new(USUAL).join(&self.id)).to_string_lossy())
    }
}

impl State {
    /// Reads the state of a run directory.
    pub fn read(dir: &Path) -> io::Result<Self> {
        read_json(&dir.join(file::STATE))
    }

    /// Replaces the state of a run directory, so that a reader sees the old or the new one.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_json(&dir.join(file::STATE), self)
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, serde_json::to_vec(value)?)?;
    fs::rename(temporary, path)
}
