//! What is done to a container that runs: signals, pausing, limits; and what can be seen of it.

use std::{io, ops::RangeInclusive, os::fd::AsFd, time::Duration};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{ANSWER_LIMIT, Live, Runtime, RuntimeError, blocking, error::io_error};
use crate::{
    cgroup::Stats,
    shim::{
        launch::State,
        protocol::{Report, Request, Started, WindowSize},
    },
};

/// The numbers of signals (signal(7)).
const SIGNALS: RangeInclusive<i32> = 1..=64;

impl Runtime {
    /// Sends a signal to the first process of a container.
    pub async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        let live = self.live(id)?;
        if !SIGNALS.contains(&signal) {
            return Err(RuntimeError::Signal(signal));
        }
        if signal == Signal::KILL.as_raw() {
            let killed = self.signal_past_shim(id, signal);
            self.end_without_shim(id, live);
            return killed;
        }
        match self.ask(id, &Request::Signal(signal)).await {
            Err(RuntimeError::Silent { .. }) => self.signal_past_shim(id, signal),
            other => other,
        }
    }

    /// A shim that hangs must not save its container from a signal.
    fn signal_past_shim(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        let not_running = || RuntimeError::NotRunning(id.to_owned());
        let process = State::read(&self.dir(id)).ok().and_then(|state| state.process).ok_or_else(not_running)?;
        let pid = Pid::from_raw(process.pid.cast_signed()).ok_or_else(not_running)?;
        // Once it is held no other can have its id, and only then is looked whether it is the one.
        let sent = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) if process.lives() => kernel::process::signal(held.as_fd(), signal),
            Ok(_) | Err(Errno::SRCH) => return Err(not_running()),
            Err(errno) => Err(io::Error::from(errno)),
        };
        sent.map_err(io_error(id, "send it a signal"))
    }

    /// After SIGKILL the shim has only the end to tell. One that is stopped, or does not tell it, goes too: then the end is what it
    /// had to be.
    fn end_without_shim(&self, id: &str, live: Live) {
        let (runtime, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let Ok(State { shim, process, .. }) = State::read(&runtime.dir(&id)) else { return };
            let mut exit = live.exit;
            let patience = if shim.is_stopped() { Duration::ZERO } else { ANSWER_LIMIT };
            let told = tokio::time::timeout(patience, exit.wait_for(Option::is_some)).await.is_ok();
            if !told && (shim.is_stopped() || !process.is_some_and(|process| process.lives())) {
                runtime.kill_shim(&id);
            }
        });
    }

    /// Has its shim do something, and returns when that is done.
    pub(super) async fn ask(&self, id: &str, request: &Request) -> Result<(), RuntimeError> {
        let silent = |_| RuntimeError::Silent { id: id.to_owned(), shim: self.shim(id) };
        tokio::time::timeout(ANSWER_LIMIT, self.answer(id, request)).await.map_err(silent)?
    }

    /// The shim's process id.
    pub(super) fn shim(&self, id: &str) -> Option<u32> {
        State::read(&self.dir(id)).ok().map(|state| state.shim.pid)
    }

    /// The same as [`Runtime::ask`] however long it takes.
    pub(super) async fn answer(&self, id: &str, request: &Request) -> Result<(), RuntimeError> {
        let not_running = || RuntimeError::NotRunning(id.to_owned());
        // The shim listens for as long as its container runs.
        let (mut output, mut input) = self.connect(id).map_err(|_| not_running())?;
        input.send(request).await.map_err(|_| not_running())?;
        match output.next().await {
            Ok(Some(Report::Done)) => Ok(()),
            _ => Err(not_running()),
        }
    }

    /// Stops every process of a container until [`Runtime::resume`].
    pub async fn pause(&self, id: &str) -> Result<(), RuntimeError> {
        self.freeze(id, true).await
    }

    /// Lets a paused container go on.
    pub async fn resume(&self, id: &str) -> Result<(), RuntimeError> {
        self.freeze(id, false).await
    }

    async fn freeze(&self, id: &str, frozen: bool) -> Result<(), RuntimeError> {
        let cgroup = self.live(id)?.cgroup;
        let action = if frozen { "pause it" } else { "resume it" };
        blocking(move || cgroup.freeze(frozen)).await.map_err(io_error(id, action))
    }

    /// Gives the terminal of a container a new size.
    pub async fn resize(&self, id: &str, size: WindowSize) -> Result<(), RuntimeError> {
        self.live(id)?;
        self.ask(id, &Request::Resize(size)).await
    }

    /// The ids of all processes of a container, in the host's namespace, in ascending order.
    pub async fn top(&self, id: &str) -> Result<Vec<u32>, RuntimeError> {
        let cgroup = self.live(id)?.cgroup;
        blocking(move || Ok(cgroup.processes())).await.map_err(io_error(id, "list its processes"))
    }

    /// What a container has used and uses.
    pub async fn stats(&self, id: &str) -> Result<Stats, RuntimeError> {
        let cgroup = self.live(id)?.cgroup;
        blocking(move || Ok(cgroup.stats())).await.map_err(io_error(id, "read its statistics"))
    }

    /// Changes the limits of a running container; those that are none stay.
    pub async fn update(&self, id: &str, resources: &model::container::Resources) -> Result<(), RuntimeError> {
        let (cgroup, resources) = (self.live(id)?.cgroup, resources.clone());
        match tokio::task::spawn_blocking(move || cgroup.update(&resources)).await {
            Ok(outcome) => Ok(outcome?),
            Err(error) => Err(io_error(id, "change its limits")(error.into())),
        }
    }

    /// How long a container has been running, whatever the host's clock did meanwhile; none when it does not run.
    pub fn age(&self, id: &str) -> Option<Duration> {
        self.live(id).ok().map(|live| live.since.elapsed())
    }

    /// Since when a container runs, and as which process; none when it does not.
    pub fn running(&self, id: &str) -> Option<Started> {
        self.live(id).ok().map(|live| live.started)
    }
}
