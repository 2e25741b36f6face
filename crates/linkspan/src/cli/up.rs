//! `linkspan up`: the daemon.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::Args;
use ipnet::IpNet;

use super::Outcome;
use crate::{
    config::{self, File},
    daemon::{self, Setup},
};

/// Run the daemon in the foreground: serve the Docker Engine API, and keep containers and their networks as asked
#[derive(Args)]
pub struct Up {
    /// Configuration file [default: /etc/linkspan/linkspan.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Images, volumes, containers and the journal [default: /var/lib/linkspan]
    #[arg(long, value_name = "DIR")]
    data_root: Option<PathBuf>,
    /// Sockets and namespaces [default: /run/linkspan]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Socket of the Docker API [default: /var/run/docker.sock where free, else docker.sock in the run directory]
    #[arg(long, value_name = "PATH")]
    docker_socket: Option<PathBuf>,
    /// Group that may use the socket [default: docker]
    #[arg(long, value_name = "GROUP")]
    docker_group: Option<String>,
    /// Address of the default network's bridge, as 172.17.0.1/16
    #[arg(long, value_name = "ADDR/LEN")]
    bip: Option<IpNet>,
    /// Pool that networks take subnets from, as base=172.30.0.0/16,size=24; may be repeated
    #[arg(long, value_name = "POOL", value_parser = pool)]
    default_address_pool: Vec<config::PoolEntry>,
    /// Largest packet in bytes [default: that of the default route's link]
    #[arg(long, value_name = "BYTES")]
    mtu: Option<u32>,
    /// Name server of containers that do not say theirs; may be repeated
    #[arg(long, value_name = "ADDR")]
    dns: Vec<IpAddr>,
    /// Address that ports are published on when -p does not say [default: all, of both families]
    #[arg(long, value_name = "ADDR")]
    publish_address: Option<IpAddr>,
    /// Let packets between other links pass too, where it was linkspan that had the host forward
    #[arg(long)]
    ip_forward_no_drop: bool,
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Put the image linkspan/demo into the store, made of this binary
    #[arg(long)]
    demo: bool,
}

impl Up {
    pub fn run(self) -> Outcome {
        let file = File::read(self.config.as_deref())?;
        let setup = self.over(file)?;
        daemon::run(setup)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The command line goes before the file.
    fn over(self, mut file: File) -> Result<Setup, config::ConfigError> {
        let network = &mut file.network;
        network.bip = self.bip.or(network.bip);
        network.mtu = self.mtu.or(network.mtu);
        network.ip_forward_no_drop |= self.ip_forward_no_drop;
        network.publish_address = self.publish_address.or(network.publish_address);
        if !self.dns.is_empty() {
            network.dns = self.dns;
        }
        if !self.default_address_pool.is_empty() {
            network.default_address_pools = self.default_address_pool;
        }
        Ok(Setup {
            data_root: self.data_root.or(file.data_root).unwrap_or_else(|| config::DATA_ROOT.into()),
            run_dir: self.run_dir.or(file.run_dir).unwrap_or_else(|| config::RUN_DIR.into()),
            docker_socket: self.docker_socket.or(file.docker_socket),
            docker_group: self.docker_group.or(file.docker_group).unwrap_or_else(|| "docker".to_owned()),
            log_level: self.log_level.or(file.log_level).unwrap_or_else(|| "info".to_owned()),
            settings: network.settings()?,
            images: file.images,
            demo: self.demo,
        })
    }
}

fn pool(text: &str) -> Result<config::PoolEntry, String> {
    let wrong = || format!("{text:?} is not base=ADDR/LEN,size=LEN");
    let (base, size) = text.split_once(',').ok_or_else(wrong)?;
    let base = base.strip_prefix("base=").and_then(|b| b.parse().ok()).ok_or_else(wrong)?;
    let size = size.strip_prefix("size=").and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
    Ok(config::PoolEntry { base, size })
}
