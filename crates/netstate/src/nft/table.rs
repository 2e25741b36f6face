//! Tables. Every table linkspan makes is named `linkspan`, which is its mark of ownership.

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

/// Which table. The name is always `linkspan`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableKey {
    /// Where it is.
    pub netns: NetnsName,
    /// Its family.
    pub family: Family,
}

/// The name of every table of ours.
pub const NAME: &str = "linkspan";

impl fmt::Display for TableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {NAME}", self.netns, self.family)
    }
}

/// A table that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {}
