//! A container's life: what its user wants, how far it has come, how it ends and is started again.

use serde::{Deserialize, Serialize};

/// What the user wants of a container now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// That it runs.
    Running,
    /// That it does not: it was never started, or was stopped by hand.
    Stopped,
    /// That it does not: it was ended by hand with a signal.
    Killed,
    /// That it ends, to be started again at once by whoever asked for it: it is not removed in between.
    Restarted,
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
    /// How long it ran, milliseconds, whatever the host's clock did meanwhile; 0 if it never ran.
    #[serde(default)]
    pub ran_ms: u64,
    /// Why it could not be started.
    pub error: Option<String>,
}

/// How a container is asked to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Signal number (signal(7)).
    pub signal: i32,
    /// Seconds until it is killed; negative means never.
    pub timeout_s: i64,
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

/// What happens when a container has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterExit {
    /// It stays until removed.
    Keep,
    /// It is removed, with its anonymous volumes.
    Remove,
}
