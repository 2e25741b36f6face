//! Addresses on links.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::link::LinkKey;

/// Which address: the link and the address with its prefix length (host bits kept).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AddrKey {
    /// The link that has it.
    pub link: LinkKey,
    /// The address and the length of its network's prefix.
    pub address: IpNet,
}

impl fmt::Display for AddrKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.link, self.address)
    }
}

/// An address. IPv6 addresses are set without duplicate address detection (RFC 4862, 5.4), so that they work at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addr {}
