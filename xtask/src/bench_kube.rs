//! `cargo xtask bench-kube`: what is promised of Kubernetes' speed and memory, each row on a private host with a daemon of its own.
//!
//! The client runs in the host's network and beside the daemon on the same processors; its own time is in all figures but those of CPU and
//! memory. Nothing asserts a time. What services cost the engine alone, and the gateway, have benches of their own (benches/README.md).

mod client;
mod cluster;
mod heard;
mod objects;
mod pace;
mod rows;
mod table;

use std::{fs, path::PathBuf};

use crate::{
    bench::{self, priority::Priority},
    dist, packages,
    run::Result,
};
use cluster::Cluster;
use rows::Row;

/// Where `--save` writes.
const SAVED: &str = "benches/kubernetes.md";

/// Measure Kubernetes on this machine, and print the table
#[derive(clap::Args)]
#[command(after_help = rows::help())]
pub struct BenchKube {
    /// Only these rows (all without)
    #[arg(value_name = "ROW", value_parser = rows::parse)]
    rows: Vec<&'static Row>,
    /// Measure this linkspan instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write the table to benches/kubernetes.md too
    #[arg(long)]
    save: bool,
}

impl BenchKube {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        bench::needs_root()?;
        let _priority = Priority::take();
        packages::install("what the bench looks with", &["busybox-static", "docker.io", "iproute2", "util-linux"])?;
        let binary = self.binary.map_or_else(dist::run, Ok)?;
        let binary = fs::canonicalize(&binary).map_err(|e| format!("cannot find {}: {e}", binary.display()))?;
        let title = format!("linkspan {}; {}\n", env!("CARGO_PKG_VERSION"), bench::machine()?);
        let mut text = format!("{title}\n{}", table::HEAD);
        print!("{text}");
        let rows: Vec<_> = if self.rows.is_empty() { rows::ROWS.iter().collect() } else { self.rows };
        for row in rows {
            let lines = Cluster::start(&binary).and_then(|mut cluster| cluster.measured_within(row.measure));
            let lines = table::markdown(row.name, &lines);
            print!("{lines}");
            text += &lines;
        }
        if self.save {
            fs::write(SAVED, text).map_err(|e| format!("cannot write {SAVED}: {e}"))?;
        }
        Ok(())
    }
}
