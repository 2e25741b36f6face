//! Routes that linkspan adds. Those the kernel derives from addresses are not listed.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{link::IfName, netns::NetnsName};

/// The main table (`RT_TABLE_MAIN`).
pub const MAIN: u32 = 254;

/// Which route: what `ip route` treats as one (rtnetlink(7)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// Where it is.
    pub netns: NetnsName,
    /// Routing table number.
    pub table: u32,
    /// Destination; `0.0.0.0/0` and `::/0` are the default routes.
    pub destination: IpNet,
    /// Priority: the lower wins.
    pub metric: u32,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} table {} metric {}", self.netns, self.destination, self.table, self.metric)
    }
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The link it leaves by.
    pub device: IfName,
    /// The next hop; none means the destination is on the link.
    pub via: Option<IpAddr>,
}
