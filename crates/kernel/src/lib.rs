//! Linux: network namespaces, links, addresses, routes, settings and nftables by netlink, and what else of the network only the kernel
//! knows (connections, sockets that listen, the host's own routes).
//!
//! This is the only crate with netlink and with `unsafe`, so that the program's allocator is here too. It does what a plan says and
//! reports what is there; it decides nothing. Everything is synchronous: a netlink request is worked off while it is sent.

pub mod allocator;
mod apply;
pub mod cgroup_device;
pub mod conntrack;
pub mod facts;
mod fault;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod kernel;
mod linux;
mod mark;
pub mod memory;
mod monitor;
pub mod namespace;
mod netlink;
mod nft;
mod observe;
mod own;
pub mod probe;
pub mod process;
mod reaper;
mod rule_news;
pub mod seccomp;
pub mod socket;
mod sysctl;

pub use linux::Linux;
pub use mark::{ALIAS_PREFIX, LINK_GROUP, PROTOCOL};
pub use monitor::{Monitor, Surprise};
