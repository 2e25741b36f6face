//! `cargo xtask bench`: every promise of speed and memory, measured beside Docker Engine in one run.

use crate::run::Result;

/// Which rows to measure.
#[derive(clap::Args)]
pub struct Bench {
    /// Only these rows (all without)
    rows: Vec<String>,
}

impl Bench {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        Err(format!("no rows to measure yet: {}", self.rows.join(" ")))
    }
}
