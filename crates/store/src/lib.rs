//! What must outlive the daemon. The journal ([`Store`]): every change of the model is written there before anything is done about it.
//! The objects of the Kubernetes API ([`objects`]): revisioned, watched, in SQLite on one machine and in etcd beyond.
//!
//! A file that is damaged, truncated or somebody else's is refused with the remedy; it is never taken for an empty one.
#![forbid(unsafe_code)]

mod error;
mod file;
mod journal;
mod key;
pub mod objects;

pub use error::StoreError;
pub use journal::Store;
