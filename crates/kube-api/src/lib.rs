//! A Kubernetes API server and its controllers over the objects of `store`. It knows nothing of networks, containers or nodes' insides:
//! what a cluster does about the objects is `kube-agent`'s business.
#![forbid(unsafe_code)]

pub mod controller;
pub mod kind;
pub mod schema;
