//! Kernel settings under `/proc/sys`, per network namespace.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::netns::NetnsName;

/// Which setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SysctlKey {
    /// The namespace it is read and written in.
    pub netns: NetnsName,
    /// Path below `/proc/sys`, as in `net/ipv4/conf/docker0/route_localnet`.
    pub path: String,
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.netns, self.path)
    }
}

/// A setting's value, without the line end. Settings cannot be listed by owner: only those desired are observed, and one that is no
/// longer desired stays as it is (those below a link go with it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// The text the kernel prints.
    pub value: String,
}
