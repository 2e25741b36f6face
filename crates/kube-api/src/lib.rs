//! A Kubernetes API server and its controllers over the objects of `store`. It knows nothing of networks, containers or nodes' insides:
//! what a cluster does about the objects is `kube-agent`'s business.
#![forbid(unsafe_code)]

pub mod auth;
pub mod controller;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod kind;
pub mod object;
pub mod patch;
pub mod schema;
pub mod server;
pub mod settings;
pub mod status;
pub mod verb;

mod admit;
mod answer;
mod body;
mod crowd;
mod discovery;
mod expire;
mod lead;
mod metrics;
mod open;
mod path;
mod patience;
mod protobuf;
mod query;
mod route;
mod run;
mod serve;
mod subresource;
mod table;
mod text;
mod view;

pub use open::{ApiServer, OpenError, Opening};
