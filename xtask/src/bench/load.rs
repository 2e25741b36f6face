//! The programs that make traffic: hidden verbs of this binary, which the bench starts inside network namespaces.
//!
//! Each prints one line of figures. A server ends when its standard input does, so none is left behind.

mod connect;
pub mod dns;
mod serve;
mod stream;

use std::{net::SocketAddr, process::Command, str::FromStr};

use super::engine::Engine;
use crate::run::{Result, output};

/// Traffic.
#[derive(clap::Subcommand)]
pub enum Load {
    /// Make traffic (the bench starts these itself)
    #[command(subcommand, hide = true)]
    Load(Traffic),
}

/// What kind of traffic.
#[derive(clap::Subcommand)]
pub enum Traffic {
    /// Answer requests, and take streams
    Serve { addresses: Vec<SocketAddr> },
    /// Connect, request, close; prints connections a second and the median of their microseconds
    Connect { address: SocketAddr, connections: usize },
    /// Send for so many milliseconds; prints gigabits a second
    Stream { address: SocketAddr, duration_ms: u64 },
    /// Ask for the names n0, n1, ...; prints answers, milliseconds, lost, and the 99th percentile of microseconds
    Dns { names: usize, duration_ms: u64, rate: Option<f64> },
}

impl Load {
    /// Makes it.
    pub fn run(self) -> Result<()> {
        let Self::Load(traffic) = self;
        let figures = match traffic {
            Traffic::Serve { addresses } => serve::run(&addresses).map(|()| Vec::new()),
            Traffic::Connect { address, connections } => connect::run(address, connections).map(Vec::from),
            Traffic::Stream { address, duration_ms } => stream::run(address, duration_ms).map(|gbit| vec![gbit]),
            Traffic::Dns { names, duration_ms, rate } => {
                let names = (0..names).map(|n| format!("n{n}")).collect();
                dns::run(&dns::Asked { server: "127.0.0.11:53".to_owned(), names, duration_ms, rate }).map(Vec::from)
            }
        };
        let figures = figures.map_err(|e| e.to_string())?;
        if !figures.is_empty() {
            println!("{}", figures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        }
        Ok(())
    }
}

/// Where on an engine's host a program runs.
#[derive(Clone, Copy)]
pub enum From {
    /// On the neighbour outside.
    Outside,
    /// On the host.
    Host,
    /// In the network namespace of this process.
    Process(u32),
}

/// The command that makes this traffic from there.
pub fn command(engine: &Engine, from: From, words: &str) -> Result<Command> {
    let this = std::env::current_exe().map_err(|e| format!("this program has no path: {e}"))?;
    let mut command = engine.host.inside();
    match from {
        From::Outside => command.args(["ip", "netns", "exec", "outside"]),
        From::Host => &mut command,
        From::Process(pid) => command.args(["nsenter", "--target", &pid.to_string(), "--net", "--"]),
    };
    command.arg(this).args(["bench", "load"]).args(words.split(' '));
    Ok(command)
}

/// Makes it, and gives its figures.
pub fn make<const N: usize>(engine: &Engine, from: From, words: &str) -> Result<[f64; N]> {
    let said = output(&mut command(engine, from, words)?)?;
    let figures: Vec<_> = said.split_whitespace().filter_map(|word| f64::from_str(word).ok()).collect();
    figures.try_into().map_err(|_| format!("{words}: it said {said:?}"))
}
