//! Netlink (RFC 3549, netlink(7)): messages, attributes, blocking sockets. It knows no family's words: rtnetlink messages are encoded by
//! `netlink-packet-route`, nftables and conntrack ones by this crate, and both travel through here.

pub(crate) mod attr;
pub(crate) mod link;
pub(crate) mod netconf;
pub(crate) mod route;
pub(crate) mod socket;

pub(crate) use attr::{Attributes, Writer, attributes};
pub(crate) use socket::{Message, Protocol, Request, Socket};
