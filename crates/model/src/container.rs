//! Containers: a process in a sandbox, what it may do and use, and how far it has come. One file for each part.

mod health;
mod life;
mod log;
mod mount;
mod namespace;
mod process;
mod resources;
mod security;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::{
    health::{Health, HealthCheck, HealthResult, HealthStatus},
    life::{AfterExit, Exit, Phase, Restart, Run, Stop, Want},
    log::{Log, LogPart},
    mount::{Access, Fill, Missing, Mount, MountSource, ReadOnly},
    namespace::{Namespaces, Share},
    process::{Init, Memberships, Process, Stdin, Terminal},
    resources::{BlockDeviceLimit, BlockLimit, Resources, Ulimit},
    security::{Device, Privilege, Seccomp, Security},
};
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
    /// What the OCI runtime is told besides; the built-in one does not heed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
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

impl Container {
    /// Its process while it has one.
    pub fn run(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Running(run) | Phase::Paused(run) => Some(run),
            _ => None,
        }
    }

    /// Whether it has volumes that start with what its image has at their places.
    pub fn fills_volumes(&self) -> bool {
        let fills = |mount: &Mount| matches!(mount.source, MountSource::Volume { fill: Fill::FromImage, .. });
        self.mounts.iter().any(fills)
    }

    /// Whether it keeps its sandbox up: it has a process, or will have one without its user's doing.
    pub fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::Created | Phase::Exited(_))
    }
}
