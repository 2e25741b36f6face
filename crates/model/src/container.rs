//! Containers: a process in a sandbox, what it may do and use, and how far it has come.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::{ContainerId, SandboxId};

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, unique, without a leading slash.
    pub name: String,
    /// When it was made, milliseconds since 1970 UTC.
    pub created_ms: i64,
    /// What its root file system starts from.
    pub image: Image,
    /// Its network home.
    pub sandbox: SandboxId,
    /// What runs in it.
    pub process: Process,
    /// File systems besides the root.
    pub mounts: Vec<Mount>,
    /// Limits.
    pub resources: Resources,
    /// What it may do.
    pub security: Security,
    /// Which namespaces it shares.
    pub namespaces: Namespaces,
    /// When it is started again.
    pub restart: Restart,
    /// How it is asked to end.
    pub stop: Stop,
    /// How its health is checked.
    pub health_check: Option<HealthCheck>,
    /// Where its output goes.
    pub log: Log,
    /// What happens when it has ended.
    pub after_exit: AfterExit,
    /// Absolute path of an OCI runtime to use instead of the built-in one.
    pub external_runtime: Option<PathBuf>,
    /// Labels, as given.
    pub labels: BTreeMap<String, String>,
    /// What the face that made it wants back verbatim; never read here.
    pub face: serde_json::Value,
    /// What its user wants of it now.
    pub want: Want,
    /// How far it has come.
    pub phase: Phase,
    /// How often it was started again by its policy since a user last started it.
    pub restarts: u32,
    /// The pause before its policy last started it, milliseconds; 0 once it ran for ten seconds, and when a user starts it.
    pub backoff_ms: u32,
    /// What its health check says, while it has one and runs.
    pub health: Option<Health>,
}

/// An image, as the container was made from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// `sha256:` and 64 digits.
    pub id: String,
    /// The name it was asked for by.
    pub name: String,
}

/// What runs in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program and its arguments; never empty.
    pub args: Vec<String>,
    /// `NAME=value`, in order.
    pub env: Vec<String>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `user[:group]`, names or numbers; empty for root.
    pub user: String,
    /// Additional groups, names or numbers.
    pub groups: Vec<String>,
    /// Whether it has a terminal.
    pub terminal: Terminal,
    /// What becomes of its standard input.
    pub stdin: Stdin,
    /// Whether a small init is process 1 and reaps orphans.
    pub init: Init,
}

/// Whether a process has a terminal, with its first size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// Pipes.
    None,
    /// A pseudoterminal.
    Pty {
        /// Rows.
        height: u16,
        /// Columns.
        width: u16,
    },
}

/// What becomes of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// It is empty.
    Closed,
    /// It stays open for whoever attaches.
    Open,
    /// It is closed when the first who attached leaves.
    Once,
}

/// Whether a small init is process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// It is.
    Init,
    /// The program itself is.
    Program,
}

/// A file system in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, absolute.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Whether it may be written.
    pub access: Access,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute path.
        path: PathBuf,
        /// `rprivate`, `rshared`, `rslave`, `private`, `shared` or `slave`.
        propagation: String,
        /// What to do when the path is missing.
        missing: Missing,
        /// With the file systems below it, or without.
        recursive: bool,
    },
    /// A named volume.
    Volume {
        /// Its name.
        name: String,
        /// Below its root.
        subpath: Option<String>,
        /// Whether an empty volume starts with what the image has at the target.
        fill: Fill,
    },
    /// Memory.
    Tmpfs {
        /// mount(8) options.
        options: Vec<String>,
    },
}

/// What to do when the path of a bind mount is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// Make a directory.
    Create,
    /// Refuse to start.
    Refuse,
}

/// Whether an empty volume starts with what the image has at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fill {
    /// It does.
    FromImage,
    /// It starts empty.
    Empty,
}

/// Whether something may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// It may.
    ReadWrite,
    /// It may not.
    ReadOnly,
}

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
    /// Processes and threads; -1 for no limit.
    pub pids: Option<i64>,
    /// Weight, 10 to 1,000.
    pub blkio_weight: Option<u16>,
    /// Absolute path of the parent control group.
    pub cgroup_parent: Option<String>,
    /// setrlimit(2): name without `RLIMIT_` in lower case, soft, hard.
    pub ulimits: Vec<Ulimit>,
    /// Bytes of `/dev/shm`; none means 64 MiB.
    pub shm_size: Option<u64>,
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

/// What a container may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Everything, or what the lists say.
    pub privilege: Privilege,
    /// Capabilities more than usual, as `CAP_NET_ADMIN`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities less than usual, or `ALL`.
    pub cap_drop: Vec<String>,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Whether the root file system may be written.
    pub root: Access,
    /// Whether exec may give more privileges (`no_new_privs`, prctl(2)).
    pub no_new_privileges: bool,
    /// Paths that are hidden; none means the usual ones.
    pub masked_paths: Option<Vec<String>>,
    /// Paths that are read-only; none means the usual ones.
    pub readonly_paths: Option<Vec<String>>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Rules as in `c 42:* rmw`.
    pub device_rules: Vec<String>,
    /// Kernel settings other than those of the network.
    pub sysctls: BTreeMap<String, String>,
    /// -1,000 to 1,000.
    pub oom_score_adj: i32,
}

/// Everything, or what the lists say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Privilege {
    /// The usual capabilities, changed by the lists.
    Usual,
    /// All that the daemon itself has.
    Privileged,
}

/// System call filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The usual profile.
    Usual,
    /// None.
    Unconfined,
    /// This profile, in Docker's JSON format.
    Profile(String),
}

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the host.
    pub path: PathBuf,
    /// In the container.
    pub target: PathBuf,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Which namespaces a container shares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Processes.
    pub pid: Share,
    /// System V IPC and POSIX queues, and `/dev/shm`.
    pub ipc: Share,
    /// Host name.
    pub uts: Share,
    /// The view of control groups.
    pub cgroup: Share,
}

/// With whom a namespace is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// Nobody.
    Own,
    /// The host.
    Host,
    /// Another container.
    Container(ContainerId),
}

/// When a container is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Never.
    No,
    /// When it ends, and when the daemon starts.
    Always,
    /// The same, unless its user stopped it.
    UnlessStopped,
    /// When it ends with an error, so many times (0: always).
    OnFailure {
        /// The largest number of times.
        most: u32,
    },
}

/// How a container is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Signal number (signal(7)).
    pub signal: i32,
    /// Seconds until it is killed; negative means never.
    pub timeout_s: i64,
}

/// How health is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The program and its arguments.
    pub args: Vec<String>,
    /// Between checks, milliseconds.
    pub interval_ms: u64,
    /// The longest a check may take, milliseconds.
    pub timeout_ms: u64,
    /// Failures in this time after the start do not count, milliseconds.
    pub start_period_ms: u64,
    /// Between checks in that time, milliseconds.
    pub start_interval_ms: u64,
    /// So many failures in a row mean unhealthy.
    pub retries: u32,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Log {
    /// Nowhere.
    None,
    /// A file of JSON lines, rotated.
    JsonFile {
        /// Bytes until it is rotated; none means never.
        max_size: Option<u64>,
        /// How many files are kept, at least 1.
        max_file: u32,
    },
}

/// What happens when a container has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterExit {
    /// It stays until removed.
    Keep,
    /// It is removed, with its anonymous volumes.
    Remove,
}

/// What the user wants of a container now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// That it runs.
    Running,
    /// That it does not: it was never started, or was stopped by hand.
    Stopped,
    /// That it does not: it was ended by hand with a signal.
    Killed,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It was never started.
    Created,
    /// Its sandbox is up; its process is about to run.
    Starting,
    /// It runs.
    Running(Run),
    /// Its processes are frozen.
    Paused(Run),
    /// It ended and will be started again.
    Restarting {
        /// How it ended.
        exit: Exit,
        /// When it will be started, milliseconds since 1970 UTC.
        due_ms: i64,
        /// The pause before that start, milliseconds; the next is twice as long.
        pause_ms: u32,
    },
    /// It ended, or could not be started.
    Exited(Exit),
}

/// A process that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Process id in the daemon's namespace.
    pub pid: u32,
    /// When it started, milliseconds since 1970 UTC.
    pub started_ms: i64,
}

/// How a process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128 and the number of the signal that ended it.
    pub code: i32,
    /// Whether the kernel killed one of its processes for lack of memory.
    pub oom_killed: bool,
    /// When it had started, milliseconds since 1970 UTC; 0 if it never ran.
    pub started_ms: i64,
    /// When it ended, milliseconds since 1970 UTC.
    pub finished_ms: i64,
    /// Why it could not be started.
    pub error: Option<String>,
}

/// What a health check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing: u32,
    /// The last results, oldest first, at most five.
    pub results: Vec<HealthResult>,
}

/// The verdict of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// The last check passed.
    Healthy,
    /// Too many checks in a row failed.
    Unhealthy,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// When it ended, milliseconds since 1970 UTC.
    pub finished_ms: i64,
    /// 0 healthy, 1 unhealthy, -1 timed out or could not run.
    pub code: i32,
    /// The start of its output, at most 4,096 bytes.
    pub output: String,
}

impl Container {
    /// Its process while it has one.
    pub fn run(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Running(run) | Phase::Paused(run) => Some(run),
            _ => None,
        }
    }

    /// Whether it keeps its sandbox up: it has a process, or will have one without its user's doing.
    pub fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Created | Phase::Exited(_))
    }
}
