//! What the daemon is told: the configuration file, over it the command line, under it the defaults.

use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ipnet::{IpNet, Ipv4Net};
use model::{
    address::{Chosen, Pool, Subnet},
    host::{BetweenOthers, Settings},
};
use serde::Deserialize;
use thiserror::Error;

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
}

/// `[network]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Network {
    /// The default network's bridge.
    pub bridge: Option<String>,
    /// The default network's address and prefix, as `172.17.0.1/16`; else it gets the first free subnet of the pools.
    pub bip: Option<IpNet>,
    /// The default network's IPv6 address and prefix.
    pub bip6: Option<IpNet>,
    /// Pools that networks take their subnets from.
    pub default_address_pools: Vec<PoolEntry>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Name servers of containers that do not say theirs.
    pub dns: Vec<IpAddr>,
    /// The address ports are published on when nothing else says.
    pub publish_address: Option<IpAddr>,
    /// Whether packets between other links pass too, where linkspan has the host forward.
    pub ip_forward_no_drop: bool,
}

/// `[images]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Images {
    /// Registries that may be spoken to without TLS (loopback always may).
    pub insecure_registries: Vec<String>,
    /// Registries that are asked first for what is on Docker Hub.
    pub mirrors: Vec<String>,
}

/// A pool as the file has it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    /// The range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
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

impl Network {
    /// The settings of the model.
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let pools = self.default_address_pools.iter().map(PoolEntry::pool).collect::<Result<Vec<_>, _>>()?;
        if self.mtu.is_some_and(|mtu| !(68..=65535).contains(&mtu)) {
            return Err(ConfigError::Value("mtu must be between 68 and 65535 bytes".to_owned()));
        }
        Ok(Settings {
            default_bridge: self.bridge.clone().unwrap_or_else(|| "docker0".to_owned()),
            default_ipv4: self.bip.map(subnet).transpose()?,
            default_ipv6: self.bip6.map(subnet).transpose()?,
            pools: if pools.is_empty() { default_pools() } else { pools },
            mtu: self.mtu,
            publish_address: self.publish_address,
            dns: self.dns.clone(),
            forwarding_ipv4: model::host::Forwarding::Before,
            forwarding_ipv6: model::host::Forwarding::Before,
            between_others: if self.ip_forward_no_drop { BetweenOthers::Forwarded } else { BetweenOthers::Dropped },
        })
    }
}

impl PoolEntry {
    fn pool(&self) -> Result<Pool, ConfigError> {
        let (least, most) = (self.base.prefix_len(), self.base.max_prefix_len() - 2);
        if !(least..=most).contains(&self.size) {
            return Err(ConfigError::Value(format!(
                "pool {} cannot be cut into /{}: use {least} to {most}",
                self.base, self.size
            )));
        }
        Ok(Pool { base: self.base.trunc(), size: self.size })
    }
}

fn subnet(address: IpNet) -> Result<Subnet, ConfigError> {
    if address.addr() == address.network() && address.prefix_len() < address.max_prefix_len() {
        return Err(ConfigError::Value(format!(
            "bip {address} must be an address of the network, not the network itself"
        )));
    }
    Ok(Subnet {
        net: address.trunc(),
        range: None,
        gateway: Some(address.addr()),
        reserved: Default::default(),
        chosen: Chosen::ByUser,
    })
}

/// Docker's first subnets in Docker's sizes, of which the default network gets the first, then thousands of smaller ones.
fn default_pools() -> Vec<Pool> {
    [
        ([172, 17, 0, 0], 16, 16),
        ([172, 18, 0, 0], 15, 16),
        ([172, 20, 0, 0], 14, 16),
        ([172, 24, 0, 0], 14, 16),
        ([172, 28, 0, 0], 15, 16),
        ([172, 30, 0, 0], 15, 24),
        ([192, 168, 0, 0], 16, 24),
        ([10, 128, 0, 0], 9, 24),
    ]
    .into_iter()
    .map(|(base, prefix, size)| Pool { base: net(base, prefix), size })
    .collect()
}

fn net(address: [u8; 4], prefix: u8) -> IpNet {
    // The prefixes above are all below 33.
    Ipv4Net::new_assert(address.into(), prefix).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let file: Result<File, _> = toml::from_str(text);
        let said = match file {
            Err(error) => error.message().to_owned(),
            Ok(file) => match file.network.settings() {
                Ok(settings) => {
                    format!("{} {:?}", settings.default_bridge, settings.default_ipv4.map(|s| (s.net, s.gateway)))
                }
                Err(error) => error.to_string(),
            },
        };
        assert!(said.contains(expected), "{text:?}: {said}");
    }

    #[test]
    fn files() {
        check("", "docker0 None");
        check("[network]\nbridge = 'br0'\nbip = '10.1.2.3/24'", "br0 Some((10.1.2.0/24, Some(10.1.2.3)))");
        check("[network]\nbip = '10.1.2.0/24'", "must be an address of the network");
        check("[network]\nmtu = 20", "between 68 and 65535");
        check("[network]\ndefault-address-pools = [{ base = '10.0.0.0/8', size = 7 }]", "cannot be cut into /7");
        check("[netwrok]", "unknown field `netwrok`");
    }

    #[test]
    fn the_commented_file_is_understood() {
        toml::from_str::<File>(include_str!("../../../deploy/linkspan.toml")).unwrap();
    }
}
