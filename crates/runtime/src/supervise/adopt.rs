//! Finding the containers of an earlier daemon: those that still run are followed again, those that ended are
//! reported, half-made ones are removed.

use std::{
    error::Error,
    fs, io,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tracing::{info, warn};

use super::{ANSWER_LIMIT, Entry, Live, Runtime, RuntimeError, cgroup_of, error::io_error};
use crate::shim::{
    launch::{ProcessName, State, file},
    protocol::{Exit, Report, Request, Started},
};

/// How long a shim may take to start its container before it counts as lost, and is killed.
const START_LIMIT: Duration = Duration::from_secs(10);

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
    /// Looks through the run directory. To be called once, before anything is started. No shim can hold it up for long.
    pub async fn adopt(&self) -> Result<Vec<Adopted>, RuntimeError> {
        let containers = self.inner.settings.run_dir.join("containers");
        let entries = match fs::read_dir(&containers) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io_error("*", "list the run directory"))?,
        };
        let mut ids: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        ids.sort_unstable();
        let adopted = join_all(ids.iter().map(|id| self.adopt_one(id))).await;
        let told = ids.iter().zip(adopted).filter_map(|(id, outcome)| {
            // One that resists must not keep the others from being adopted.
            let resists = |error: &RuntimeError| {
                warn!(id, %error, cause = error.source(), "cannot adopt what is left of a container");
            };
            outcome.inspect_err(resists).ok().flatten()
        });
        Ok(told.collect())
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
            Ok(State { process: Some(process), started_ms: Some(started_ms), .. }) => {
                let age = if process.lives() { process.age().unwrap_or_default() } else { Duration::ZERO };
                let exit = self.lost(id, cgroup_of(&dir, id), age).await;
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
        let state = State::read(&dir).ok();
        let over = state.as_ref().is_some_and(|state| state.exit.is_some() || !state.shim.lives());
        if over || !dir.join(file::LAUNCH).exists() {
            return None;
        }
        // Refused when nobody listens: then a shim without a state was never made, or has died.
        let (mut output, mut input) = self.connect(id).ok()?;
        input.send(&Request::Wait).await.ok()?;
        let began = state.and_then(|state| state.process.zip(state.started_ms));
        if let Some((process, started_ms)) = began {
            // All is known already, so nobody waits for a shim that is stopped; it answers when it goes on.
            let started = Started { pid: process.pid, started_ms };
            let live = self.supervise(id, (started, ago(process.age().ok())), (output, input), None);
            self.listen_for(id);
            return Some((started, live));
        }
        match tokio::time::timeout(START_LIMIT, output.next()).await {
            Ok(Ok(Some(Report::Started(started)))) => {
                let age = ProcessName::of(started.pid).and_then(|process| process.age());
                Some((started, self.supervise(id, (started, ago(age.ok())), (output, input), None)))
            }
            Ok(_) => None,
            Err(_) => {
                self.kill_shim(id);
                None
            }
        }
    }

    /// Says so when the shim does not answer, and when it answers again.
    fn listen_for(&self, id: &str) {
        let (runtime, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            // Signal 0 reaches nobody.
            let question = Request::Signal(0);
            let mut answer = std::pin::pin!(runtime.answer(&id, &question));
            if tokio::time::timeout(ANSWER_LIMIT, &mut answer).await.is_ok() {
                return;
            }
            let error = RuntimeError::Silent { id: id.clone(), shim: runtime.shim(&id) };
            warn!(id, %error, "a container is in trouble");
            if answer.await.is_ok() {
                info!(id, "the container's shim answers again");
            }
        });
    }
}

/// The moment so long ago.
fn ago(age: Option<Duration>) -> Instant {
    let now = Instant::now();
    age.and_then(|age| now.checked_sub(age)).unwrap_or(now)
}
