//! One pod on this node. What is to be done next, and what its status is, are pure functions of its object, of what is seen of it here
//! and of the time ([`next`], [`status`]); `worker` looks, does and reports.

pub mod admit;
mod ask;
pub mod backoff;
pub mod container;
pub mod downward;
pub mod env;
pub mod files;
pub mod network;
pub mod next;
pub mod probe;
pub mod resources;
pub mod security;
pub mod seen;
pub mod spec;
pub mod status;
pub mod volume;

pub use next::{Action, next};
pub use seen::Seen;
pub use status::status;
