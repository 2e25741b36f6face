//! How containers end: following their shims, and removing what is left.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{process::Child, sync::watch};
use tracing::warn;

use super::{ANSWER_LIMIT, Entry, Input, Live, Output, Runtime, RuntimeError, blocking, error::io_error};
use crate::{
    cgroup::Cgroup,
    shim::{
        launch::{ProcessName, State},
        now_ms,
        protocol::{Exit, Report, Started},
    },
};

impl Runtime {
    /// Follows a shim until its container has ended.
    pub(super) fn supervise(
        &self,
        id: &str,
        (started, since): (Started, Instant),
        (mut output, input): (Output, Input),
        child: Option<Child>,
    ) -> Live {
        let (ended, exit) = watch::channel(None);
        let live = Live { started, since, cgroup: self.cgroup(id), exit };
        let (runtime, id, cgroup) = (self.clone(), id.to_owned(), live.cgroup.clone());
        tokio::spawn(async move {
            let exit = loop {
                match output.next().await {
                    Ok(Some(Report::Exited(exit))) => break exit,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break runtime.lost(&id, cgroup, since.elapsed()).await,
                }
            };
            // The shim waits for its clients before it ends.
            drop((output, input));
            ended.send_replace(Some(exit));
            if let Some(child) = child {
                end(child).await;
            }
        });
        live
    }

    /// A shim died before it could report: its container dies with it.
    pub(super) async fn lost(&self, id: &str, cgroup: Cgroup, age: Duration) -> Exit {
        let ran_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let dir = self.dir(id);
        let job = move || {
            if let Ok(State { exit: Some(exit), .. }) = State::read(&dir) {
                return exit;
            }
            let oom_killed = cgroup.oom_kills() > 0;
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
            let error = Some("its shim was killed".to_owned());
            let exit = Exit { code: 137, oom_killed, finished_ms: now_ms(), ran_ms, error };
            if let Ok(mut state) = State::read(&dir) {
                state.exit = Some(exit.clone());
                let _ = state.write(&dir);
            }
            exit
        };
        let failed = |error: tokio::task::JoinError| Exit {
            code: 137,
            oom_killed: false,
            finished_ms: now_ms(),
            ran_ms,
            error: Some(error.to_string()),
        };
        tokio::task::spawn_blocking(job).await.unwrap_or_else(failed)
    }

    /// Waits until a started container has ended.
    pub async fn wait(&self, id: &str) -> Result<Exit, RuntimeError> {
        let mut exit = match self.containers().get(id) {
            Some(Entry::Live(live)) => live.exit.clone(),
            _ => return Err(RuntimeError::NotRunning(id.to_owned())),
        };
        let exit = exit.wait_for(Option::is_some).await.ok().and_then(|exit| exit.clone());
        exit.ok_or_else(|| RuntimeError::NotRunning(id.to_owned()))
    }

    /// Removes every trace of a container: what still runs of it is killed.
    pub async fn reap(&self, id: &str) -> Result<(), RuntimeError> {
        let entry = self.containers().remove(id);
        if let Some(Entry::Live(live)) = entry {
            let cgroup = live.cgroup.clone();
            blocking(move || cgroup.kill()).await.map_err(io_error(id, "kill its processes"))?;
            // The shim writes to the run directory until it has reported. One that hangs is killed: nobody needs it any more.
            let mut exit = live.exit.clone();
            if tokio::time::timeout(ANSWER_LIMIT, exit.wait_for(Option::is_some)).await.is_err() {
                self.kill_shim(id);
                let _ = exit.wait_for(Option::is_some).await;
            }
        }
        let cgroup = self.cgroup(id);
        blocking(move || cgroup.kill().and_then(|()| cgroup.remove()))
            .await
            .map_err(io_error(id, "remove its control group"))?;
        self.execs().retain(|_, exec| exec.container() != id);
        self.forget(id);
        Ok(())
    }

    /// Kills the shim, if it is still the one that wrote the state.
    pub(super) fn kill_shim(&self, id: &str) {
        let shim = State::read(&self.dir(id)).ok().map(|state| state.shim).filter(ProcessName::lives);
        if let Some(pid) = shim.and_then(|shim| Pid::from_raw(shim.pid.cast_signed())) {
            warn!(id, shim = pid.as_raw_pid(), "its shim hangs, and is killed");
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Removes the run directory.
    pub(super) fn forget(&self, id: &str) {
        let _ = fs::remove_dir_all(self.dir(id));
    }
}

/// Waits for a shim that has said its last word.
pub(super) async fn end(mut child: Child) {
    let _ = child.wait().await;
}
