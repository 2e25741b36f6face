//! Finding the containers of an earlier daemon: those that still run are followed again, those that ended are
//! reported, half-made ones are removed.

use std::{error::Error, fs, io, time::Duration};

use tracing::warn;

use super::{Entry, Live, Runtime, RuntimeError, cgroup_of, error::io_error};
use crate::shim::{
    launch::{State, file},
    protocol::{Exit, Report, Request, Started},
};

/// How long a shim may take to start its container before it counts as lost.
const START_LIMIT: Duration = Duration::from_secs(30);

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
            match self.adopt_one(&id).await {
                Ok(found) => adopted.extend(found),
                // One that resists must not keep the others from being adopted.
                Err(error) => warn!(id, %error, cause = error.source(), "cannot adopt what is left of a container"),
            }
        }
        Ok(adopted)
    }

    async fn adopt_one(&self, id: &str) -> Result<Option<Adopted>, RuntimeError> {
        let id_of = || id.to_owned();
        if let Some((started, live)) = self.follow(id).await {
            self.containers().insert(id_of(), Entry::Live(live));
            return Ok(Some(Adopted::Running { id: id_of(), started }));
        }
        // No shim writes it any more.
        let dir = self.dir(id);
        match State::read(&dir) {
            Ok(State { exit: Some(exit), started_ms, .. }) => {
                Ok(Some(Adopted::Ended { id: id_of(), started_ms, exit }))
            }
            Ok(State { process: Some(_), started_ms: Some(started_ms), .. }) => {
                let exit = self.lost(id, cgroup_of(&dir, id)).await;
                Ok(Some(Adopted::Ended { id: id_of(), started_ms: Some(started_ms), exit }))
            }
            Ok(_) | Err(_) => {
                // It never ran.
                self.reap(id).await?;
                Ok(None)
            }
        }
    }

    /// Connects to the shim of an earlier daemon. One that is about to start its container does so whether or not that daemon lives,
    /// so its start is waited for. None when there is no shim, or it has come to its end: its state file says how.
    async fn follow(&self, id: &str) -> Option<(Started, Live)> {
        let dir = self.dir(id);
        let died = State::read(&dir).is_ok_and(|state| !state.shim.lives());
        if died || !dir.join(file::LAUNCH).exists() {
            return None;
        }
        // Refused when nobody listens: then a shim without a state was never made, or has died.
        let (mut output, mut input) = self.connect(id).ok()?;
        input.send(&Request::Wait).await.ok()?;
        match tokio::time::timeout(START_LIMIT, output.next()).await {
            Ok(Ok(Some(Report::Started(started)))) => {
                Some((started, self.supervise(id, started, (output, input), None)))
            }
            _ => None,
        }
    }
}
