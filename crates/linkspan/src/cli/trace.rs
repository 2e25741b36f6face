//! `linkspan trace`: a virtual packet, hop by hop.

use std::process::ExitCode;

use clap::Args;

use super::{Daemon, Outcome};
use crate::admin::{self, Ask, Protocol};

/// Send a virtual packet and say where it ends, hop by hop
#[derive(Args)]
pub struct Trace {
    /// Where it comes from: a container, `host`, or an address outside
    source: String,
    /// Where it goes: a container or an address, and a port
    #[arg(value_name = "DST[:PORT]")]
    destination: String,
    /// Its protocol
    #[arg(short, long, value_enum, default_value_t = Protocol::Tcp)]
    protocol: Protocol,
    #[command(flatten)]
    daemon: Daemon,
}

impl Trace {
    pub fn run(self) -> Outcome {
        let Self { source, destination, protocol, daemon } = self;
        print!("{}", admin::ask(&daemon.run_dir, &Ask::Trace { source, destination, protocol })?);
        Ok(ExitCode::SUCCESS)
    }
}
