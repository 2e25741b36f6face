//! `linkspan doctor`: what on this host stands in the way, and the remedy.

use std::process::ExitCode;

use clap::Args;

use super::Outcome;

/// Look for what stands in the way on this host, and say the remedy; ends with 1 when something does
#[derive(Args)]
pub struct Doctor {}

impl Doctor {
    pub fn run(self) -> Outcome {
        let mut sick = false;
        for finding in kernel::probe::examine()? {
            println!("{finding}");
            sick |= finding.blocks();
        }
        Ok(if sick { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
