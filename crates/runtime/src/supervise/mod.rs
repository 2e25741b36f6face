//! The daemon's side of the shims: starting them, talking to them, finding them again after a restart, and removing
//! every leftover. Which containers there should be is the engine's business.

mod adopt;
mod attach;
mod exec;

use std::{
    collections::HashMap,
    fs, io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{process::Child, sync::watch};

pub use adopt::Adopted;
pub use attach::{Attached, Input, Output};
pub use exec::{ExecState, ExecWish};

use crate::{
    cgroup::{Cgroup, Stats, UpdateError},
    shim::{
        self,
        launch::{Launch, State, file},
        now_ms,
        protocol::{AttachWish, Exit, Failure, ProtocolError, Report, Request, Started, WindowSize},
    },
    socket,
};

/// Where the runtime works.
#[derive(Clone, Debug)]
pub struct RuntimeSettings {
    /// Holds `containers/<id>/`; lost at reboot (tmpfs).
    pub run_dir: PathBuf,
    /// The executable that becomes the shim when its first argument is [`shim::VERB`].
    pub exe: PathBuf,
}

impl RuntimeSettings {
    /// Works below `run_dir` and re-executes the running binary.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        Self { run_dir: run_dir.into(), exe: "/proc/self/exe".into() }
    }
}

/// Why a container operation failed.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The container could not be started; [`Failure::code`] is its exit code.
    #[error("{}", .0.message)]
    Start(Failure),
    /// It runs already.
    #[error("container {0} is already running")]
    Running(String),
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// No such exec.
    #[error("No such exec instance: {0}")]
    NoExec(String),
    /// An exec is started once.
    #[error("exec instance {0} has already been started")]
    ExecStarted(String),
    /// The shim ended without a word.
    #[error("the shim of container {id} ended unexpectedly{}", said(log))]
    Shim {
        /// The container.
        id: String,
        /// What the shim had written.
        log: String,
    },
    /// The shim said what it may not.
    #[error("the shim of container {id} cannot be understood")]
    Protocol {
        /// The container.
        id: String,
        /// How.
        #[source]
        source: ProtocolError,
    },
    /// The signal does not exist.
    #[error("there is no signal {0}")]
    Signal(i32),
    /// New limits were refused.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The system refused.
    #[error("container {id}: cannot {action}")]
    Io {
        /// The container.
        id: String,
        /// What was tried.
        action: &'static str,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!(": {log}") }
}

/// All containers of one run directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: RuntimeSettings,
    containers: Mutex<HashMap<String, Entry>>,
    execs: Mutex<HashMap<String, exec::Exec>>,
}

/// What is known of a container that has a run directory.
#[derive(Debug)]
enum Entry {
    /// Not started; attachers connect to this socket and wait in its queue.
    Waiting(UnixListener),
    /// A shim is being made.
    Starting,
    /// A shim has, or had, its process.
    Live(Live),
}

#[derive(Clone, Debug)]
struct Live {
    started: Started,
    cgroup: Cgroup,
    exit: watch::Receiver<Option<Exit>>,
}

impl Live {
    fn runs(&self) -> bool {
        self.exit.borrow().is_none()
    }
}

impl Runtime {
    /// A runtime without containers; [`Runtime::adopt`] finds those of an earlier daemon.
    pub fn new(settings: RuntimeSettings) -> Self {
        Self { inner: Arc::new(Inner { settings, containers: Mutex::default(), execs: Mutex::default() }) }
    }

    /// Starts a container and returns when its process runs. On an error nothing of it is left but its attachers,
    /// who see the end of their stream.
    pub async fn start(&self, launch: &Launch) -> Result<Started, RuntimeError> {
        let id = launch.id.as_str();
        let listener = self.claim(id)?;
        let outcome = self.launch(launch, listener).await;
        let mut containers = self.containers();
        match outcome {
            Ok(live) => {
                let started = live.started;
                containers.insert(id.to_owned(), Entry::Live(live));
                Ok(started)
            }
            Err(error) => {
                containers.remove(id);
                drop(containers);
                self.forget(id);
                Err(error)
            }
        }
    }

    /// The socket of a container that is about to start, with those who wait in its queue.
    fn claim(&self, id: &str) -> Result<UnixListener, RuntimeError> {
        let mut containers = self.containers();
        match containers.remove(id) {
            Some(Entry::Live(live)) if live.runs() => {
                containers.insert(id.to_owned(), Entry::Live(live));
                return Err(RuntimeError::Running(id.to_owned()));
            }
            Some(Entry::Starting) => {
                containers.insert(id.to_owned(), Entry::Starting);
                return Err(RuntimeError::Running(id.to_owned()));
            }
            Some(Entry::Waiting(listener)) => {
                containers.insert(id.to_owned(), Entry::Starting);
                return Ok(listener);
            }
            Some(Entry::Live(_)) | None => {}
        }
        let listener = self.listen(id)?;
        containers.insert(id.to_owned(), Entry::Starting);
        Ok(listener)
    }

    fn listen(&self, id: &str) -> Result<UnixListener, RuntimeError> {
        let dir = self.dir(id);
        let path = dir.join(file::SOCKET);
        // What an earlier run has left means nothing to this one.
        self.forget(id);
        fs::create_dir_all(&dir).map_err(io_error(id, "make its run directory"))?;
        socket::bind(&path).map_err(io_error(id, "listen for its attachers"))
    }

    async fn launch(&self, launch: &Launch, listener: UnixListener) -> Result<Live, RuntimeError> {
        let id = launch.id.as_str();
        let dir = self.dir(id);
        launch.write(&dir).map_err(io_error(id, "write its launch file"))?;
        let log = fs::File::create(dir.join(file::SHIM_LOG)).map_err(io_error(id, "make its shim's log"))?;
        let (mut output, mut input) = self.connect(id)?;
        input.send(&Request::Start).await.map_err(io_error(id, "talk to its shim"))?;
        let child = tokio::process::Command::new(&self.inner.settings.exe)
            .arg(shim::VERB)
            .arg(&dir)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(io_error(id, "start its shim"))?;
        let started = match output.next().await {
            Ok(Some(Report::Started(started))) => started,
            Ok(Some(Report::Failed(failure))) => {
                end(child).await;
                return Err(RuntimeError::Start(failure));
            }
            other => {
                end(child).await;
                return Err(self.silence(id, other.err()));
            }
        };
        Ok(self.supervise(id, started, (output, input), Some(child)))
    }

    /// The error for a shim that ended the conversation.
    fn silence(&self, id: &str, error: Option<attach::StreamError>) -> RuntimeError {
        match error {
            Some(attach::StreamError::Protocol(source)) => RuntimeError::Protocol { id: id.to_owned(), source },
            _ => {
                let log = fs::read_to_string(self.dir(id).join(file::SHIM_LOG)).unwrap_or_default();
                RuntimeError::Shim { id: id.to_owned(), log: log.trim().to_owned() }
            }
        }
    }

    /// Follows a shim until its container has ended.
    fn supervise(
        &self,
        id: &str,
        started: Started,
        (mut output, input): (Output, Input),
        child: Option<Child>,
    ) -> Live {
        let (ended, exit) = watch::channel(None);
        let live = Live { started, cgroup: self.cgroup(id), exit };
        let (runtime, id, cgroup) = (self.clone(), id.to_owned(), live.cgroup.clone());
        tokio::spawn(async move {
            let exit = loop {
                match output.next().await {
                    Ok(Some(Report::Exited(exit))) => break exit,
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => break runtime.lost(&id, cgroup).await,
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
    async fn lost(&self, id: &str, cgroup: Cgroup) -> Exit {
        let dir = self.dir(id);
        let job = move || {
            if let Ok(State { exit: Some(exit), .. }) = State::read(&dir) {
                return exit;
            }
            let oom_killed = cgroup.oom_kills() > 0;
            let _ = cgroup.kill().and_then(|()| cgroup.remove());
            let exit =
                Exit { code: 137, oom_killed, finished_ms: now_ms(), error: Some("its shim was killed".to_owned()) };
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

    /// Sends a signal to the first process of a container.
    pub async fn signal(&self, id: &str, signal: i32) -> Result<(), RuntimeError> {
        self.live(id)?;
        nix::sys::signal::Signal::try_from(signal).map_err(|_| RuntimeError::Signal(signal))?;
        self.ask(id, &Request::Signal(signal)).await
    }

    /// Has its shim do something, and returns when that is done.
    async fn ask(&self, id: &str, request: &Request) -> Result<(), RuntimeError> {
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

    /// Connects to the streams of a container's first process. Before its start this waits in the queue: not one
    /// byte of output is lost.
    pub async fn attach(&self, id: &str, wish: AttachWish) -> Result<Attached, RuntimeError> {
        self.meet(id)?;
        let (output, mut input) = self.connect(id)?;
        input.send(&Request::Attach(wish)).await.map_err(io_error(id, "attach to it"))?;
        Ok(Attached { output, input })
    }

    /// Makes sure that there is a socket to which attachers can connect.
    fn meet(&self, id: &str) -> Result<(), RuntimeError> {
        let mut containers = self.containers();
        match containers.get(id) {
            Some(Entry::Waiting(_) | Entry::Starting) => Ok(()),
            Some(Entry::Live(live)) if live.runs() => Ok(()),
            _ => {
                let listener = self.listen(id)?;
                containers.insert(id.to_owned(), Entry::Waiting(listener));
                Ok(())
            }
        }
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

    /// Since when a container runs, and as which process; none when it does not.
    pub fn running(&self, id: &str) -> Option<Started> {
        self.live(id).ok().map(|live| live.started)
    }

    /// Removes every trace of a container: what still runs of it is killed.
    pub async fn reap(&self, id: &str) -> Result<(), RuntimeError> {
        let entry = self.containers().remove(id);
        if let Some(Entry::Live(live)) = entry {
            let cgroup = live.cgroup.clone();
            blocking(move || cgroup.kill()).await.map_err(io_error(id, "kill its processes"))?;
            // The shim writes to the run directory until it has reported.
            let _ = live.exit.clone().wait_for(Option::is_some).await;
        }
        let cgroup = self.cgroup(id);
        blocking(move || cgroup.kill().and_then(|()| cgroup.remove()))
            .await
            .map_err(io_error(id, "remove its control group"))?;
        self.execs().retain(|_, exec| exec.container() != id);
        self.forget(id);
        Ok(())
    }

    /// Removes the run directory.
    fn forget(&self, id: &str) {
        let _ = fs::remove_dir_all(self.dir(id));
    }

    fn live(&self, id: &str) -> Result<Live, RuntimeError> {
        match self.containers().get(id) {
            Some(Entry::Live(live)) if live.runs() => Ok(live.clone()),
            _ => Err(RuntimeError::NotRunning(id.to_owned())),
        }
    }

    fn connect(&self, id: &str) -> Result<(Output, Input), RuntimeError> {
        attach::connect(&self.dir(id).join(file::SOCKET)).map_err(io_error(id, "reach its shim"))
    }

    fn dir(&self, id: &str) -> PathBuf {
        self.inner.settings.run_dir.join("containers").join(id)
    }

    /// The container's group, wherever its launch put it.
    fn cgroup(&self, id: &str) -> Cgroup {
        cgroup_of(&self.dir(id), id)
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // No code panics while it holds the lock with the map half changed.
        self.inner.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cgroup_of(dir: &Path, id: &str) -> Cgroup {
    let path = Launch::read(dir).ok().and_then(|launch| launch.spec.linux().as_ref()?.cgroups_path().clone());
    let path = path.unwrap_or_else(|| Path::new("/linkspan").join(id));
    Cgroup::at(&path.to_string_lossy()).unwrap_or(Cgroup::V1(Default::default()))
}

fn io_error(id: &str, action: &'static str) -> impl FnOnce(io::Error) -> RuntimeError {
    move |source| RuntimeError::Io { id: id.to_owned(), action, source }
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await?
}

/// Waits for a shim that has said its last word.
async fn end(mut child: Child) {
    let _ = child.wait().await;
}
