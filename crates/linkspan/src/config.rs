//! What the daemon is told: the configuration file, over it the command line, under it the defaults.

mod kube;
mod network;
mod ranges;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

pub use kube::{Face, IngressPorts, Kube, Listen};
pub use network::Network;
pub use ranges::Ranges;

/// Where sockets and namespaces are, unless told.
pub const RUN_DIR: &str = "/run/linkspan";
/// Where images, volumes, containers and the journal are, unless told.
pub const DATA_ROOT: &str = "/var/lib/linkspan";
/// Where the docker command looks.
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The configuration file: every key may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// `data-root`
    #[serde(rename = "data-root")]
    pub data_root: Option<PathBuf>,
    /// `run-dir`
    #[serde(rename = "run-dir")]
    pub run_dir: Option<PathBuf>,
    /// `docker-socket`
    #[serde(rename = "docker-socket")]
    pub docker_socket: Option<PathBuf>,
    /// `docker-group`
    #[serde(rename = "docker-group")]
    pub docker_group: Option<String>,
    /// `log-level`
    #[serde(rename = "log-level")]
    pub log_level: Option<String>,
    /// `[network]`
    pub network: Network,
    /// `[images]`
    pub images: Images,
    /// `[kube]`
    pub kube: Kube,
}

/// `[images]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Images {
    /// Registries that may be spoken to without TLS (loopback always may).
    pub insecure_registries: Vec<String>,
    /// Registries that are asked first for what is on Docker Hub.
    pub mirrors: Vec<String>,
    /// How long a registry may send nothing before it is given up, seconds.
    pub registry_stall_timeout_s: Option<u64>,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not understood.
    #[error("cannot understand the configuration {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value makes no sense; the words are complete.
    #[error("the configuration's {0}")]
    Value(String),
}

impl File {
    /// Reads the file; one that was not named may be absent.
    pub fn read(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new("/etc/linkspan/linkspan.toml"));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound && named.is_none() => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path: path.to_owned(), source }),
        };
        toml::from_str(&text).map_err(|e| ConfigError::Parse { path: path.to_owned(), source: Box::new(e) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_is_understood() {
        toml::from_str::<File>(include_str!("../../../deploy/linkspan.toml")).unwrap();
    }
}
