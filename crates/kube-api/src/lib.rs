//! A Kubernetes API server and its controllers over the objects of `store`. It knows nothing of networks, containers or nodes' insides:
//! what a cluster does about the objects is `kube-agent`'s business.
#![forbid(unsafe_code)]

pub mod controller;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod kind;
pub mod patch;
pub mod schema;
