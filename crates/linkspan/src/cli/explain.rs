//! `linkspan explain`: which wish made an object, and which objects a wish made.

use std::process::ExitCode;

use clap::Args;

use super::{Daemon, Outcome};
use crate::admin::{self, Ask};

/// Say which wish made a link, address or rule, or which kernel objects a container or network has
#[derive(Args)]
pub struct Explain {
    /// A container, a network, an interface name, an address, a port or a chain
    object: String,
    #[command(flatten)]
    daemon: Daemon,
}

impl Explain {
    pub fn run(self) -> Outcome {
        print!("{}", admin::ask(&self.daemon.run_dir, &Ask::Explain { object: self.object })?);
        Ok(ExitCode::SUCCESS)
    }
}
