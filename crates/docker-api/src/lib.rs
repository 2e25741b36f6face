//! The Docker Engine API face: HTTP in, `model::Command` out; `model::State` in, JSON out.
//!
//! Wire types and translation only. Nothing is chosen here (addresses, ports, who may have a name: that is `model::decide`), and
//! nothing touches the kernel. `route` is the table of all paths; each noun has its file.
#![forbid(unsafe_code)]

mod answer;
mod blocking;
mod build;
mod call;
mod container;
mod detach;
mod endpoint;
mod error;
mod event;
mod exec;
mod filter;
mod find;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod hijack;
mod image;
mod network;
mod prune;
mod query;
mod random;
mod route;
mod serve;
mod signal;
mod stream;
mod system;
#[cfg(any(test, fuzzing))]
mod testing;
mod time;
mod version;
mod volume;
mod websocket;
mod wire;

use std::{collections::BTreeMap, path::PathBuf};

use engine::{Engine, Places};

pub use error::ApiError;
pub use serve::serve;

/// What the face needs to know besides the engine.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where images, containers and volumes are kept.
    pub data_root: PathBuf,
    /// Where sockets, namespaces and the files of running containers are.
    pub run_dir: PathBuf,
    /// The version of the program, as in `0.1.0`.
    pub version: String,
    /// Driver options of new bridge networks that do not say otherwise.
    pub network_options: BTreeMap<String, String>,
    /// How registries are asked.
    pub registries: runtime::image::RegistrySettings,
}

/// What every handler is given.
struct Api {
    engine: Engine,
    settings: ApiSettings,
    places: Places,
    execs: exec::Execs,
}
