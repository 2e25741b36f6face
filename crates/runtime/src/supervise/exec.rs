//! Further processes in a running container. The shim runs them; what clients ask about them later is kept here and
//! is lost with the daemon, as with Docker.

use std::{
    collections::HashMap,
    sync::{MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

use super::{Attached, Input, Output, Runtime, RuntimeError, error::io_error};
use crate::{
    oci::process,
    shim::{
        launch::Launch,
        protocol::{Report, Request, Started, WindowSize},
    },
};

pub use crate::oci::process::ExecWish;

/// What is known of an exec.
#[derive(Clone, Debug, PartialEq)]
pub struct ExecState {
    /// The container.
    pub container: String,
    /// What was asked for.
    pub wish: ExecWish,
    /// The process, once started.
    pub pid: Option<u32>,
    /// Whether it runs now.
    pub running: bool,
    /// How it ended, or why it could not start (126, 127).
    pub exit_code: Option<i32>,
}

/// An exec; it can be started once.
#[derive(Debug)]
pub(super) struct Exec {
    state: ExecState,
    started: bool,
    ended: Option<Instant>,
    /// Its exit code, once it has one, to those who wait.
    exit: watch::Sender<Option<i32>>,
}

/// How long a shim may take to run one more process.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long after its end an exec can be asked about.
const KEPT: Duration = Duration::from_secs(300);
/// How many pieces of output may wait for a slow reader before the process waits too.
const RELAYED_PIECES: usize = 16;

impl Exec {
    pub(super) fn container(&self) -> &str {
        &self.state.container
    }
}

impl Runtime {
    /// Notes an exec under `exec_id`, which the caller makes unique.
    pub fn exec_create(&self, exec_id: &str, container: &str, wish: ExecWish) -> Result<(), RuntimeError> {
        self.live(container)?;
        let state = ExecState { container: container.to_owned(), wish, pid: None, running: false, exit_code: None };
        let mut execs = self.execs();
        execs.retain(|_, exec| exec.ended.is_none_or(|ended| ended.elapsed() < KEPT));
        let exit = watch::Sender::new(None);
        execs.insert(exec_id.to_owned(), Exec { state, started: false, ended: None, exit });
        Ok(())
    }

    /// Runs an exec. Its output ends with the process, whose exit code is then in [`Runtime::exec_inspect`]. Dropping
    /// the streams detaches.
    pub async fn exec_start(&self, exec_id: &str) -> Result<Attached, RuntimeError> {
        let (container, wish) = {
            let mut execs = self.execs();
            let exec = execs.get_mut(exec_id).ok_or_else(|| RuntimeError::NoExec(exec_id.to_owned()))?;
            if std::mem::replace(&mut exec.started, true) {
                return Err(RuntimeError::ExecStarted(exec_id.to_owned()));
            }
            (exec.state.container.clone(), exec.state.wish.clone())
        };
        match self.exec_run(&container, &wish).await {
            Ok((started, output, input)) => {
                self.note(exec_id, |state| (state.pid, state.running) = (Some(started.pid), true));
                Ok(Attached { output: self.relay(exec_id, output), input })
            }
            Err(error) => {
                let code = if let RuntimeError::Start(failure) = &error { failure.code } else { 128 };
                self.note(exec_id, |state| state.exit_code = Some(code));
                Err(error)
            }
        }
    }

    /// Waits for the end of an exec, whoever reads its output; gives its exit code.
    pub async fn exec_wait(&self, exec_id: &str) -> Result<i32, RuntimeError> {
        let forgotten = || RuntimeError::NoExec(exec_id.to_owned());
        let mut exit = self.execs().get(exec_id).map(|exec| exec.exit.subscribe()).ok_or_else(forgotten)?;
        let code = exit.wait_for(Option::is_some).await.ok().and_then(|code| *code);
        code.ok_or_else(forgotten)
    }

    /// What is known of an exec.
    pub fn exec_inspect(&self, exec_id: &str) -> Result<ExecState, RuntimeError> {
        self.execs().get(exec_id).map(|exec| exec.state.clone()).ok_or_else(|| RuntimeError::NoExec(exec_id.to_owned()))
    }

    /// The execs of a container that were created and not forgotten, in no order.
    pub fn exec_ids(&self, container: &str) -> Vec<String> {
        self.execs().iter().filter(|(_, exec)| exec.container() == container).map(|(id, _)| id.clone()).collect()
    }

    /// Gives the terminal of an exec a new size.
    pub async fn exec_resize(&self, exec_id: &str, size: WindowSize) -> Result<(), RuntimeError> {
        let state = self.exec_inspect(exec_id)?;
        let Some(pid) = state.pid.filter(|_| state.running) else {
            return Err(RuntimeError::NotRunning(state.container));
        };
        self.ask(&state.container, &Request::ResizeExec(pid, size)).await
    }

    async fn exec_run(&self, container: &str, wish: &ExecWish) -> Result<(Started, Output, Input), RuntimeError> {
        self.live(container)?;
        let launch = Launch::read(&self.dir(container)).map_err(io_error(container, "read its launch file"))?;
        let exec = process::exec(&launch, wish)
            .map_err(|error| io_error(container, "describe the exec")(std::io::Error::other(error)))?;
        let (mut output, mut input) = self.connect(container)?;
        input.send(&Request::Exec(Box::new(exec))).await.map_err(io_error(container, "talk to its shim"))?;
        match tokio::time::timeout(START_LIMIT, output.next()).await {
            Ok(Ok(Some(Report::Started(started)))) => Ok((started, output, input)),
            Ok(Ok(Some(Report::Failed(failure)))) => Err(RuntimeError::Start(failure)),
            Ok(other) => Err(self.silence(container, other.err())),
            Err(_) => Err(RuntimeError::Silent { id: container.to_owned(), shim: self.shim(container) }),
        }
    }

    /// Follows an exec to its end even when nobody reads its output any more.
    fn relay(&self, exec_id: &str, mut output: Output) -> Output {
        let (sender, receiver) = mpsc::channel(RELAYED_PIECES);
        let (runtime, exec_id) = (self.clone(), exec_id.to_owned());
        tokio::spawn(async move {
            let exit_code = loop {
                match output.next().await {
                    // A reader that has left is no reason to stop: the process must not be blocked.
                    Ok(Some(Report::Output(stream, bytes))) => drop(sender.send((stream, bytes)).await),
                    Ok(Some(Report::Exited(exit))) => break exit.code,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break 137,
                }
            };
            runtime.note(&exec_id, |state| (state.running, state.exit_code) = (false, Some(exit_code)));
        });
        Output::relayed(receiver)
    }

    fn note(&self, exec_id: &str, change: impl FnOnce(&mut ExecState)) {
        if let Some(exec) = self.execs().get_mut(exec_id) {
            change(&mut exec.state);
            exec.ended = exec.state.exit_code.map(|_| Instant::now());
            exec.exit.send_replace(exec.state.exit_code);
        }
    }

    pub(super) fn execs(&self) -> MutexGuard<'_, HashMap<String, Exec>> {
        self.inner.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
