//! What is seen of a pod on this node: its sandbox, the containers that were made for it, and what the worker remembers of attempts
//! that led to none.

use std::{collections::BTreeMap, net::IpAddr};

use jiff::Timestamp;
use model::{ContainerId, container::Resources};

/// What is seen of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its object is not in the API any more, and nobody waits for a graceful end.
    pub gone: bool,
    /// Why the node does not run it, or not any longer.
    pub refused: Option<Refused>,
    /// Its volumes.
    pub volumes: Volumes,
    /// Its sandbox.
    pub sandbox: Sandboxed,
    /// The containers that were made for it, by name in the pod, the oldest first.
    pub attempts: BTreeMap<String, Vec<Attempt>>,
    /// Why containers could not be made, by name in the pod.
    pub failures: BTreeMap<String, Failure>,
    /// What the probes of running containers say.
    pub checks: BTreeMap<ContainerId, Checks>,
    /// The addresses of the node.
    pub host_ips: Vec<IpAddr>,
}

/// Why the node does not run a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It was never taken.
    Rejected {
        /// In a word of Kubernetes: `OutOfcpu`.
        reason: &'static str,
        /// In words.
        message: String,
    },
    /// It ran, and used what it may not.
    Evicted {
        /// In words.
        message: String,
    },
}

/// Whether a pod's volumes are ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Volumes {
    /// Nobody has made them yet.
    #[default]
    Missing,
    /// They could not be made.
    Failed(Failure),
    /// Containers can have them.
    Ready,
}

/// A pod's sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Sandboxed {
    /// There is none.
    #[default]
    Missing,
    /// It could not be made.
    Failed(Failure),
    /// It is up.
    Up {
        /// The pod's addresses.
        addresses: Vec<IpAddr>,
    },
    /// It went down with the end of the pod; its containers are still there for their logs.
    Down,
}

/// Something that failed, and is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// In a word of Kubernetes: `ErrImagePull`, `CreateContainerConfigError`.
    pub reason: String,
    /// In words.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Seconds until it is tried again.
    pub pause_s: i64,
}

/// A container that was made for a container of the pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// Its identity in the engine.
    pub id: ContainerId,
    /// 0 for the first: the restart count.
    pub number: u32,
    /// Seconds that were waited before it was made.
    pub pause_s: i64,
    /// The image, as the pod named it.
    pub image: String,
    /// The image, by id.
    pub image_id: String,
    /// Its limits.
    pub resources: Resources,
    /// How far it has come.
    pub stage: Stage,
}

/// How far a container has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// It is about to run.
    Starting,
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It ended.
    Ended(End),
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Exit code.
    pub code: i32,
    /// Whether the kernel killed it for lack of memory.
    pub oom: bool,
    /// When it had started, if it ever ran.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
    /// Why it could not be started.
    pub error: Option<String>,
    /// What it left as its last words.
    pub message: Option<String>,
}

/// What the probes of a running container say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checks {
    /// Its startup probe passed, or it has none; and its postStart hook is over.
    pub started: bool,
    /// Its readiness probe passes, or it has none.
    pub ready: bool,
    /// Why it must be killed: its liveness or startup probe, or its postStart hook failed.
    pub doomed: Option<String>,
    /// The grace period that the failing probe has of its own, seconds.
    pub grace_s: Option<i64>,
}

impl Refused {
    /// In a word of Kubernetes.
    pub fn reason(&self) -> &'static str {
        match *self {
            Self::Rejected { reason, .. } => reason,
            Self::Evicted { .. } => "Evicted",
        }
    }

    /// In words.
    pub fn message(&self) -> &str {
        match self {
            Self::Rejected { message, .. } | Self::Evicted { message } => message,
        }
    }
}

impl Failure {
    /// Seconds until it is tried again; 0 or less when that is due.
    pub fn remaining_s(&self, now: Timestamp) -> i64 {
        self.pause_s - now.duration_since(self.at).as_secs()
    }
}

impl Attempt {
    /// How it ended, if it did.
    pub fn end(&self) -> Option<&End> {
        match &self.stage {
            Stage::Ended(end) => Some(end),
            Stage::Starting | Stage::Running { .. } => None,
        }
    }

    /// Whether it has a process, or is about to.
    pub fn is_live(&self) -> bool {
        self.end().is_none()
    }
}

impl Seen {
    /// The newest container that was made for a container of the pod.
    pub fn latest(&self, name: &str) -> Option<&Attempt> {
        self.attempts.get(name)?.last()
    }

    /// What the probes of a container of the pod say; nothing passes before it runs.
    pub fn checks_of(&self, name: &str) -> Checks {
        let latest = self.latest(name).filter(|attempt| matches!(attempt.stage, Stage::Running { .. }));
        latest.and_then(|attempt| self.checks.get(&attempt.id)).cloned().unwrap_or_default()
    }

    /// All containers that live.
    pub fn live(&self) -> impl Iterator<Item = (&str, &Attempt)> {
        let all = self.attempts.iter().flat_map(|(name, attempts)| attempts.iter().map(move |a| (name.as_str(), a)));
        all.filter(|(_, attempt)| attempt.is_live())
    }
}
