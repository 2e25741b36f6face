//! How a process goes into the groups of a container by itself.
//!
//! For a process that is moved by another one the kernel holds up every fork on the machine, which after a pause begins with a
//! grace period of all processors: 8 to 17 ms. One that moves itself, and has one thread, is let in at once (v1 only).
//!
//! Source: `cgroup_procs_write_start` in the kernel's `kernel/cgroup/cgroup.c`.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    path::PathBuf,
};

use super::Cgroup;

/// Where a process writes to be let in. The kernel asks who has opened them, not who writes.
#[derive(Debug)]
pub struct Entrances(Vec<File>);

impl Cgroup {
    /// Opens the ways into a group of v1, one for each hierarchy that has it. With v2 there are none.
    pub fn entrances(&self) -> io::Result<Option<Entrances>> {
        let Self::V1(dirs) = self else { return Ok(None) };
        let distinct: BTreeSet<&PathBuf> = dirs.values().filter(|dir| dir.exists()).collect();
        let open = |dir: &PathBuf| File::options().write(true).open(dir.join("tasks"));
        distinct.into_iter().map(open).collect::<io::Result<_>>().map(|files| Some(Entrances(files)))
    }
}

impl Entrances {
    /// Lets the calling thread in, which must be the only one of its process.
    pub fn enter(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|mut tasks| tasks.write_all(b"0"))
    }
}
