//! Finding the containers of an earlier daemon: those that still run are followed again, those that ended are
//! reported, half-made ones are removed.

use std::{fs, io};

use super::{Entry, Live, Runtime, RuntimeError, cgroup_of, io_error};
use crate::shim::{
    launch::State,
    protocol::{Exit, Report, Request, Started},
};

/// A container that an earlier daemon had started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It runs, and is followed from now on.
    Running {
        /// The container.
        id: String,
        /// Its process.
        started: Started,
    },
    /// It ended in the meantime. Its run directory stays until [`Runtime::reap`].
    Ended {
        /// The container.
        id: String,
        /// Milliseconds since the Unix epoch; none when it never ran.
        started_ms: Option<u64>,
        /// How it ended.
        exit: Exit,
    },
}

impl Runtime {
    /// Looks through the run directory. To be called once, before anything is started.
    pub async fn adopt(&self) -> Result<Vec<Adopted>, RuntimeError> {
        let containers = self.inner.settings.run_dir.join("containers");
        let entries = match fs::read_dir(&containers) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io_error("*", "list the run directory"))?,
        };
        let mut ids: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        ids.sort_unstable();
        let mut adopted = Vec::new();
        for id in ids {
            adopted.extend(self.adopt_one(&id).await?);
        }
        Ok(adopted)
    }

    async fn adopt_one(&self, id: &str) -> Result<Option<Adopted>, RuntimeError> {
        let dir = self.dir(id);
        let Ok(state) = State::read(&dir) else {
            // No shim has come as far as to write one.
            self.reap(id).await?;
            return Ok(None);
        };
        let started =
            state.process.zip(state.started_ms).map(|(process, started_ms)| Started { pid: process.pid, started_ms });
        let ended = |exit: Exit| Some(Adopted::Ended { id: id.to_owned(), started_ms: state.started_ms, exit });
        match (state.exit.clone(), started) {
            (Some(exit), _) => Ok(ended(exit)),
            (None, None) => {
                // The shim ends by itself when it sees that its daemon has gone.
                self.reap(id).await?;
                Ok(None)
            }
            (None, Some(started)) => match self.follow(id, &state, started).await {
                Some(live) => {
                    self.containers().insert(id.to_owned(), Entry::Live(live));
                    Ok(Some(Adopted::Running { id: id.to_owned(), started }))
                }
                None => Ok(ended(self.lost(id, cgroup_of(&dir, id)).await)),
            },
        }
    }

    /// Connects to a shim of an earlier daemon; none when it has died.
    async fn follow(&self, id: &str, state: &State, started: Started) -> Option<Live> {
        if !state.shim.lives() {
            return None;
        }
        let (mut output, mut input) = self.connect(id).ok()?;
        input.send(&Request::Wait).await.ok()?;
        match output.next().await {
            Ok(Some(Report::Started(_))) => Some(self.supervise(id, started, (output, input), None)),
            // It ended just now; its state file says how.
            _ => None,
        }
    }
}
