//! `linkspan down`: nothing of ours stays on the host.

use std::process::ExitCode;

use clap::Args;

use super::{Daemon, Outcome};
use crate::admin::{self, Ask};

/// Stop all containers, take every link, namespace and rule of linkspan off the host, and end the daemon
///
/// What is under the data root (images, volumes, containers) stays for the next `linkspan up`.
#[derive(Args)]
pub struct Down {
    #[command(flatten)]
    daemon: Daemon,
}

impl Down {
    pub fn run(self) -> Outcome {
        print!("{}", admin::ask(&self.daemon.run_dir, &Ask::Down)?);
        Ok(ExitCode::SUCCESS)
    }
}
