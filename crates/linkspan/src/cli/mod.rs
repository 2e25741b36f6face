//! The verbs, one file each, and what they share: where the daemon is.

mod demo;
mod diff;
mod doctor;
mod down;
mod explain;
mod gateway;
mod map;
mod trace;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// The network between your containers and the internet, and just enough runtime to stand on its own.
///
/// `linkspan up` serves the Docker Engine API on a unix socket: use the docker command, Compose or docker-py as ever. The other verbs show
/// what was built and why.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Up(Box<up::Up>),
    Down(down::Down),
    Map(map::Map),
    Diff(diff::Diff),
    Explain(explain::Explain),
    Trace(trace::Trace),
    Doctor(doctor::Doctor),
    Gateway(Box<gateway::Gateway>),
    Demo(demo::Demo),
}

/// Which daemon is asked.
#[derive(Args)]
struct Daemon {
    /// The run directory the daemon was started with
    #[arg(long, value_name = "DIR", default_value = crate::config::RUN_DIR, env = "LINKSPAN_RUN_DIR")]
    run_dir: PathBuf,
}

/// Runs the verb of the command line.
pub fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    if matches!(verb, Verb::Up(_) | Verb::Gateway(_)) {
        crate::ALLOCATOR.hurry();
    }
    let result = match verb {
        Verb::Up(verb) => verb.run(),
        Verb::Down(verb) => verb.run(),
        Verb::Map(verb) => verb.run(),
        Verb::Diff(verb) => verb.run(),
        Verb::Explain(verb) => verb.run(),
        Verb::Trace(verb) => verb.run(),
        Verb::Doctor(verb) => verb.run(),
        Verb::Gateway(verb) => verb.run(),
        Verb::Demo(verb) => verb.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("linkspan: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// How a verb ends.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

/// An error with the errors underneath, those left out that the text above already says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
