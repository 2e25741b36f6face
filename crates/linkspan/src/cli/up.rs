//! `linkspan up`: the daemon.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

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
    /// error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Put the image linkspan/demo into the store, made of this binary
    #[arg(long)]
    demo: bool,
    #[command(flatten, next_help_heading = "Network")]
    network: config::Network,
    /// Driver option of networks that do not say otherwise, as bridge=com.docker.network.driver.mtu=1400; may be repeated
    #[arg(long, value_name = "DRIVER=KEY=VALUE", value_parser = network_option, help_heading = "Network")]
    default_network_opt: Vec<(String, String, String)>,
    #[command(flatten, next_help_heading = "Kubernetes")]
    kube: config::Kube,
}

impl Up {
    pub fn run(self) -> Outcome {
        let file = File::read(self.config.as_deref())?;
        let setup = self.over(file)?;
        daemon::run(setup)?;
        Ok(ExitCode::SUCCESS)
    }

    /// The command line goes before the file.
    fn over(self, file: File) -> Result<Setup, config::ConfigError> {
        let mut said = self.network;
        for (driver, key, value) in self.default_network_opt {
            said.default_network_opts.entry(driver).or_default().insert(key, value);
        }
        let network = said.over(file.network);
        Ok(Setup {
            data_root: self.data_root.or(file.data_root).unwrap_or_else(|| config::DATA_ROOT.into()),
            run_dir: self.run_dir.or(file.run_dir).unwrap_or_else(|| config::RUN_DIR.into()),
            docker_socket: self.docker_socket.or(file.docker_socket),
            docker_group: self.docker_group.or(file.docker_group).unwrap_or_else(|| "docker".to_owned()),
            log_level: self.log_level.or(file.log_level).unwrap_or_else(|| "info".to_owned()),
            settings: network.settings()?,
            network_options: network.default_network_opts.get("bridge").cloned().unwrap_or_default(),
            images: file.images,
            kube: self.kube.over(file.kube).face()?,
            demo: self.demo,
        })
    }
}

fn network_option(text: &str) -> Result<(String, String, String), String> {
    let mut words = text.splitn(3, '=').map(str::to_owned);
    match (words.next(), words.next(), words.next()) {
        (Some(driver), Some(key), Some(value)) => Ok((driver, key, value)),
        _ => Err(format!("{text:?} is not DRIVER=KEY=VALUE")),
    }
}
