//! `linkspan map`: a drawing of what was built.

use std::process::ExitCode;

use clap::Args;

use super::{Daemon, Outcome};
use crate::admin::{self, Ask, Format};

/// Draw hosts, bridges, veths, containers, addresses and ports
#[derive(Args)]
pub struct Map {
    /// How it is drawn
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    daemon: Daemon,
}

impl Map {
    pub fn run(self) -> Outcome {
        print!("{}", admin::ask(&self.daemon.run_dir, &Ask::Map { format: self.output })?);
        Ok(ExitCode::SUCCESS)
    }
}
