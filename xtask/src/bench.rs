//! `cargo xtask bench`: every promise of speed and memory, measured beside Docker Engine in one run.
//!
//! Each engine has a private host of its own with the same network, the same image and the same clients. Rounds alternate
//! between the engines and figures are medians, so that what else the machine does meets both alike; and they run before it. Nothing
//! asserts a time.

mod account;
mod api;
mod container;
pub mod engine;
pub mod load;
pub mod priority;
pub mod process;
mod quiet;
mod rows;
pub mod sides;
mod started;
pub mod table;

use std::{fs, path::PathBuf};

use crate::{
    dist, packages,
    run::{Result, command, output, succeeds},
};
use engine::{Engine, Kind};
use priority::Priority;
use rows::Row;
use sides::Sides;

/// Where `--save` writes.
const SAVED: &str = "benches/one-host.md";

/// Which rows to measure.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = rows::help())]
pub struct Bench {
    /// Only these rows (all without)
    #[arg(value_name = "ROW", value_parser = rows::parse)]
    rows: Vec<&'static Row>,
    /// Only this engine
    #[arg(long, value_name = "ENGINE")]
    only: Option<Only>,
    /// Measure Podman too
    #[arg(long)]
    podman: bool,
    /// Measure this linkspan instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Write the table to benches/one-host.md too
    #[arg(long)]
    save: bool,
    #[command(subcommand)]
    load: Option<load::Load>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Only {
    Docker,
    Podman,
    Linkspan,
}

impl Bench {
    /// Measures and prints.
    pub fn run(self) -> Result<()> {
        if let Some(load) = self.load {
            return load.run();
        }
        needs_root()?;
        let _priority = Priority::take();
        packages::install("what the bench looks with", &["busybox-static", "iproute2", "iptables", "util-linux"])?;
        let mut engines = Sides {
            docker: self.wants(Only::Docker).and_then(|()| docker()),
            podman: self.wants(Only::Podman).and_then(|()| podman()),
            linkspan: self.wants(Only::Linkspan).and_then(|()| linkspan(self.binary.clone())),
        };
        if let (Err(why), true) = (&engines.linkspan, self.wants(Only::Linkspan).is_ok()) {
            return Err(why.clone());
        }
        let title = title(&engines)?;
        let podman = self.wants(Only::Podman).is_ok();
        let rows: Vec<_> = if self.rows.is_empty() { rows::ROWS.iter().collect() } else { self.rows };
        let mut lines = Vec::new();
        println!("{title}");
        print!("{}", table::head(podman));
        for row in rows {
            engines.each(Engine::clear);
            for line in (row.measure)(&mut engines) {
                println!("{}", line.markdown(podman));
                lines.push(line);
            }
        }
        let notes = table::notes(&lines);
        print!("{notes}");
        if self.save {
            let table: String = lines.iter().map(|line| line.markdown(podman) + "\n").collect();
            fs::write(SAVED, format!("{title}\n{}{table}{notes}", table::head(podman)))
                .map_err(|e| format!("cannot write {SAVED}: {e}"))?;
        }
        Ok(())
    }

    fn wants(&self, engine: Only) -> Result<()> {
        let wanted = self.only.map_or(engine != Only::Podman || self.podman, |only| only == engine);
        if wanted { Ok(()) } else { Err(table::NOT_ASKED.to_owned()) }
    }
}

/// Refuses what cannot be without root.
pub fn needs_root() -> Result<()> {
    if output(&mut command("id", ["-u"]))?.trim() == "0" {
        return Ok(());
    }
    Err("hosts with networks of their own need root: run it with sudo".to_owned())
}

fn docker() -> Result<Engine> {
    // Started here alone, in a host of its own: nothing of the package needs to run.
    packages::install("Docker Engine to measure beside", &["docker.io"])?;
    Engine::start(Kind::Docker)
}

fn podman() -> Result<Engine> {
    packages::install("Podman to measure beside", &["podman", "runc"])?;
    Engine::start(Kind::Podman)
}

fn linkspan(binary: Option<PathBuf>) -> Result<Engine> {
    if !succeeds(&mut command("docker", ["--version"])) {
        packages::install("the docker command", &["docker.io"])?;
    }
    let binary = binary.map_or_else(dist::run, Ok)?;
    let binary = fs::canonicalize(&binary).map_err(|e| format!("cannot find {}: {e}", binary.display()))?;
    Engine::start(Kind::Linkspan(binary))
}

/// What was measured, where and when.
fn title(engines: &Sides<Engine>) -> Result<String> {
    let versions = engines.look(Engine::version);
    let named = [("Docker Engine", versions.docker), ("Podman", versions.podman), ("linkspan", versions.linkspan)];
    let said = named.into_iter().filter_map(|(name, version)| match version {
        Ok(version) => Some(format!("{name} {version}")),
        Err(why) if why == table::NOT_ASKED => None,
        Err(why) => Some(format!("no {name} ({why})")),
    });
    Ok(format!("{}; {}\n", said.collect::<Vec<_>>().join(", "), machine()?))
}

/// The machine and the day.
pub fn machine() -> Result<String> {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models =
        cpus.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, model)| model);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    Ok(format!(
        "{cores} × {}, Linux {}; {}",
        models.next().unwrap_or("an unnamed processor"),
        output(&mut command("uname", ["-r"]))?.trim(),
        output(&mut command("date", ["+%F"]))?.trim(),
    ))
}
