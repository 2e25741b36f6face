//! The rows that can be measured, in the order they are; one file each.

mod dns;
mod endpoint;
mod exec;
mod many;
mod networks;
mod pools;
mod ports;
mod ready;
mod rest;
mod run;
mod start;
mod traffic;

use super::{engine::Engine, sides::Sides, table::Line};

/// One measurement, which gives lines of the table. It finds no containers and no networks of others.
pub struct Row {
    /// The word that asks for it.
    pub name: &'static str,
    /// What it measures.
    about: &'static str,
    /// Measures it.
    pub measure: fn(&mut Sides<Engine>) -> Vec<Line>,
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row { name: "start", about: "create and start one container until its process runs", measure: start::measure },
    Row { name: "run", about: "docker run --rm IMAGE true", measure: run::measure },
    Row { name: "many", about: "50 containers at once", measure: many::measure },
    Row { name: "endpoint", about: "CPU of attaching an endpoint", measure: endpoint::measure },
    Row { name: "exec", about: "exec from its start to its exit", measure: exec::measure },
    Row { name: "networks", about: "create, connect, disconnect, remove a network", measure: networks::measure },
    Row { name: "dns", about: "names answered at 127.0.0.11", measure: dns::measure },
    Row { name: "traffic", about: "bytes and connections through a published port", measure: traffic::measure },
    Row { name: "rest", about: "memory, and CPU with 50 idle containers", measure: rest::measure },
    Row { name: "ready", about: "from exec of the daemon until it answers", measure: ready::measure },
    Row { name: "ports", about: "publish 1, 1,000 and 10,000 ports", measure: ports::measure },
    Row { name: "pools", about: "networks until no pool has room", measure: pools::measure },
];

/// The row of this name.
pub fn parse(name: &str) -> Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("there are these rows: {}", names()))
}

/// The rows, for the help text.
pub fn help() -> String {
    let rows: String = ROWS.iter().map(|row| format!("\n  {:10}{}", row.name, row.about)).collect();
    format!("Rows:{rows}")
}
