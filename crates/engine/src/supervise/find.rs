//! Finding everything again when the daemon starts: what runs goes on, what ended is told, what belongs to nobody is removed.

use std::fs;

use model::{
    ContainerId,
    container::{Exit, Run},
};
use runtime::Adopted;
use tracing::{info, warn};

use super::{Supervisor, files, volumes};
use crate::{EngineError, found::Found};

impl Supervisor {
    /// Looks through the run directory and the data root.
    pub async fn find(&self) -> Result<Found, EngineError> {
        let state = self.engine.state();
        let mut found = Found::default();
        for adopted in self.engine.runtime().adopt().await? {
            let (Adopted::Running { id, .. } | Adopted::Ended { id, .. }) = &adopted;
            match id.parse::<ContainerId>() {
                Ok(container) if state.containers.contains_key(&container) => found.note(container, adopted),
                _ => {
                    info!(id, "removing what is left of a container that is gone");
                    super::report(id, "remove it", self.engine.runtime().reap(id).await);
                }
            }
        }
        self.sweep().await;
        Ok(found)
    }

    /// Removes directories and writable layers of containers that the journal does not have, and directories of volumes and sandboxes
    /// that are gone.
    async fn sweep(&self) {
        let state = self.engine.state();
        let gone = |name: &str| name.parse().is_ok_and(|id: ContainerId| !state.containers.contains_key(&id));
        for id in self.engine.images().snapshots().into_iter().filter(|id| gone(id)) {
            if let Err(error) = self.engine.images().remove_snapshot(&id).await {
                warn!(id, %error, "cannot remove the writable layer of a container that is gone");
            }
        }
        let kept: Vec<_> = state.sandboxes.keys().map(|sandbox| self.places.sandbox(sandbox)).collect();
        for place in fs::read_dir(self.places.sandboxes()).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if !kept.contains(&place) {
                self.release(&place);
            }
        }
        volumes::left_behind(&state, &self.places).iter().for_each(|directory| files::remove(directory));
        let Ok(entries) = fs::read_dir(self.places.data_root.join("containers")) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&gone)) {
            files::remove(&entry.path());
        }
    }
}

impl Found {
    fn note(&mut self, container: ContainerId, adopted: Adopted) {
        match adopted {
            Adopted::Running { started, .. } => {
                let started_ms = i64::try_from(started.started_ms).unwrap_or(i64::MAX);
                self.running.insert(container, Run { pid: started.pid, started_ms });
            }
            Adopted::Ended { exit: ended, started_ms, .. } => {
                let started_ms = i64::try_from(started_ms.unwrap_or(0)).unwrap_or(i64::MAX);
                self.ended.insert(container, exit(ended, started_ms));
            }
        }
    }
}

/// The model's word for an exit that the runtime reports.
pub fn exit(exit: runtime::shim::protocol::Exit, started_ms: i64) -> Exit {
    Exit {
        code: exit.code,
        oom_killed: exit.oom_killed,
        started_ms,
        finished_ms: i64::try_from(exit.finished_ms).unwrap_or(i64::MAX),
        ran_ms: exit.ran_ms,
        error: exit.error,
    }
}
