//! What a container may do.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::Access;

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
