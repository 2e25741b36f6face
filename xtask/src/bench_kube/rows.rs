//! The rows that can be measured, in the order they are; one file each.

mod api;
mod dns;
mod list;
mod pods;
mod ready;
mod rest;
mod services;
mod watch;

use super::{cluster::Cluster, table::Line};
use crate::run::Result;

/// One measurement, which gives lines of the table. It has a cluster of its own, and runs in its network.
pub struct Row {
    /// The word that asks for it.
    pub name: &'static str,
    /// What it measures.
    about: &'static str,
    /// Measures it.
    pub measure: fn(&mut Cluster) -> Result<Vec<Line>>,
}

/// All of them.
pub const ROWS: &[Row] = &[
    Row { name: "ready", about: "from exec of the daemon until its node is Ready", measure: ready::measure },
    Row { name: "rest", about: "memory and CPU when nobody asks anything", measure: rest::measure },
    Row { name: "api", about: "get and create at 500 requests a second", measure: api::measure },
    Row { name: "list", about: "list 10,000 pods", measure: list::measure },
    Row { name: "watch", about: "1,000 watchers and one change", measure: watch::measure },
    Row { name: "pods", about: "a pod, and 50, until Ready", measure: pods::measure },
    Row { name: "services", about: "10,000 services: load, changes, a restart", measure: services::measure },
    Row { name: "dns", about: "names of services at the cluster's name server", measure: dns::measure },
];

/// The row of this name.
pub fn parse(name: &str) -> std::result::Result<&'static Row, String> {
    let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
    ROWS.iter().find(|row| row.name == name).ok_or_else(|| format!("there are these rows: {}", names()))
}

/// The rows, for the help text.
pub fn help() -> String {
    let rows: String = ROWS.iter().map(|row| format!("\n  {:10}{}", row.name, row.about)).collect();
    format!("Rows:{rows}")
}
