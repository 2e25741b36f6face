//! What a Linux host has: namespaces, links, addresses, routes, sysctls, nftables objects.
//!
//! One type serves what is desired and what is observed, one keyed diff turns the difference into ordered operations, and a
//! virtual packet walks through it. Pure: no sockets, no clock, no randomness. It does not know what people asked for
//! (that is `model`) nor how Linux is told (that is `kernel`).
#![forbid(unsafe_code)]

pub mod addr;
pub mod apply;
pub mod diff;
pub mod link;
mod lookup;
pub mod map;

pub mod netns;
pub mod nft;
pub mod route;
pub mod state;
pub mod sysctl;
pub mod text;
pub mod trace;

pub use apply::{Fault, Kernel, Op, Plan, Report};
pub use diff::{diff, diff_keys};
pub use state::{Key, NetState, Object};
