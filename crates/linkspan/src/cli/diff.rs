//! `linkspan diff`: what must be against what is.

use std::process::ExitCode;

use clap::Args;

use super::{Daemon, Outcome};
use crate::admin::{self, Ask};

/// Compare what must be with the kernel now; ends with 1 when they differ
#[derive(Args)]
pub struct Diff {
    #[command(flatten)]
    daemon: Daemon,
}

impl Diff {
    pub fn run(self) -> Outcome {
        let text = admin::ask(&self.daemon.run_dir, &Ask::Diff)?;
        if text.is_empty() {
            println!("The kernel is as it must be.");
            return Ok(ExitCode::SUCCESS);
        }
        print!("{text}");
        Ok(ExitCode::FAILURE)
    }
}
