//! `linkspan doctor`: what on this host stands in the way, and the remedy.

use std::process::ExitCode;

use clap::Args;
use kernel::{
    Linux,
    probe::{Check, Verdict},
};

use super::{Daemon, Outcome};

/// Look for what stands in the way on this host, and say the remedy; ends with 1 when something does
#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    daemon: Daemon,
}

impl Doctor {
    pub fn run(self) -> Outcome {
        let checks = Linux::open(&self.daemon.run_dir)?.probe()?;
        checks.iter().for_each(|check| println!("{}", line(check)));
        let sick = checks.iter().any(|check| matches!(check.verdict, Verdict::Bad { .. }));
        Ok(if sick { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn line(Check { what, verdict }: &Check) -> String {
    match verdict {
        Verdict::Good(found) => format!("good     {what}: {found}"),
        Verdict::Warning { found, remedy } => format!("warning  {what}: {found}\n         {remedy}"),
        Verdict::Bad { found, remedy } => format!("BAD      {what}: {found}\n         {remedy}"),
    }
}
