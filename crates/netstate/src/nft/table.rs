//! Tables. A table's name is its mark of ownership: `linkspan` on the host, `linkspan-sandbox` in a namespace of ours.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::netns::NetnsName;

/// The address families of tables that linkspan uses (nft(8), ADDRESS FAMILIES).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// Frames that a bridge forwards.
    Bridge,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        })
    }
}

/// Which table; the name follows from where it is, see [`TableKey::name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableKey {
    /// Where it is.
    pub netns: NetnsName,
    /// Its family.
    pub family: Family,
}

/// The name of our tables on the host.
pub const NAME: &str = "linkspan";

/// The name of our tables in namespaces of ours. It differs, because the namespace of a container is the host of a linkspan that runs
/// inside the container: neither must take the other's table for its own.
pub const SANDBOX_NAME: &str = "linkspan-sandbox";

impl TableKey {
    /// The table's name in the kernel.
    pub fn name(&self) -> &'static str {
        match self.netns {
            NetnsName::Host => NAME,
            NetnsName::Named(_) => SANDBOX_NAME,
        }
    }
}

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.netns, self.family, self.name())
    }
}

/// A table that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {}
