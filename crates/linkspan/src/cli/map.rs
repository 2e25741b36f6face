//! `linkspan map`: a drawing of what was built.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::{Daemon, Outcome};
use crate::admin::{self, Ask};

/// Draw hosts, bridges, veths, containers, addresses and ports
#[derive(Args)]
pub struct Map {
    /// How it is drawn
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    #[command(flatten)]
    daemon: Daemon,
}

/// How a map is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
pub enum Format {
    /// A tree for the terminal
    Text,
    /// For programs
    Json,
    /// For Graphviz
    Dot,
    /// For Markdown pages
    Mermaid,
    /// A picture
    Svg,
}

impl Map {
    pub fn run(self) -> Outcome {
        print!("{}", admin::ask(&self.daemon.run_dir, &Ask::Map { format: self.output })?);
        Ok(ExitCode::SUCCESS)
    }
}
