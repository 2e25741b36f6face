//! What rtnetlink tells of the settings of links: `struct netconfmsg` (include/uapi/linux/netconf.h).

use super::attributes;

pub(crate) const RTNLGRP_IPV4_NETCONF: u32 = 24;
pub(crate) const RTNLGRP_IPV6_NETCONF: u32 = 25;
pub(crate) const RTM_NEWNETCONF: u16 = 80;
pub(crate) const RTM_DELNETCONF: u16 = 81;
/// The index that stands for all links (NETCONFA_IFINDEX_ALL).
pub(crate) const ALL_LINKS: i32 = -1;

/// What interests us of the settings of a link.
pub(crate) struct NetconfFacts {
    /// AF_INET or AF_INET6.
    pub family: u8,
    /// Which link.
    pub index: i32,
    /// Whether it forwards, where that is told.
    pub forwarding: Option<bool>,
}

/// Reads a message of the kernel.
pub(crate) fn facts(body: &[u8]) -> Option<NetconfFacts> {
    const HEADER_LEN: usize = 4;
    const IFINDEX: u16 = 1; // NETCONFA_*
    const FORWARDING: u16 = 2;
    let attributes = attributes(body.get(HEADER_LEN..)?);
    let number = |kind| attributes.get(kind)?.try_into().ok().map(i32::from_ne_bytes);
    Some(NetconfFacts {
        family: *body.first()?,
        index: number(IFINDEX)?,
        forwarding: number(FORWARDING).map(|value| value != 0),
    })
}
