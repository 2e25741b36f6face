//! Images, OCI bundles and the supervision of container processes through the shim.
//! Nothing here knows networks beyond the path of a namespace, nor the Docker API.
#![forbid(unsafe_code)]

pub mod cgroup;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod image;
pub mod init;
pub mod log;
mod mountinfo;
pub mod oci;
pub mod rootfs;
pub mod sandbox;
pub mod shim;
mod socket;
mod supervise;
pub mod words;

pub use supervise::{Adopted, Attached, ExecState, ExecWish, Input, Output, Runtime, RuntimeError, RuntimeSettings};
