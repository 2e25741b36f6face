//! Kernel settings under `/proc/sys`, per network namespace.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{link::LinkKey, netns::NetnsName};

/// Which setting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SysctlKey {
    /// The namespace it is read and written in.
    pub netns: NetnsName,
    /// Path below `/proc/sys`, as in `net/ipv4/conf/docker0/route_localnet`.
    pub path: String,
}

/// The directories that have one directory per link.
pub(crate) const PER_LINK: [&str; 4] = ["net/ipv4/conf/", "net/ipv4/neigh/", "net/ipv6/conf/", "net/ipv6/neigh/"];

impl SysctlKey {
    /// The link whose setting it is: `net/ipv4/conf/docker0/route_localnet` is docker0's.
    pub fn link(&self) -> Option<LinkKey> {
        let below = PER_LINK.iter().find_map(|directory| self.path.strip_prefix(directory))?;
        let (name, _) = below.split_once('/')?;
        let name = name.parse().ok().filter(|_| name != "all" && name != "default")?;
        Some(LinkKey { netns: self.netns.clone(), name })
    }
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
