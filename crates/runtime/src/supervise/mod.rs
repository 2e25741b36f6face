//! The daemon's side of the shims: starting them, talking to them, finding them again after a restart, and removing
//! every leftover. Which containers there should be is the engine's business.

mod adopt;
mod attach;
mod control;
mod error;
mod exec;
mod exit;
mod start;
mod stream;

use std::{
    collections::HashMap,
    io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;

pub use adopt::Adopted;
pub use error::RuntimeError;
pub use exec::{ExecState, ExecWish};
pub use stream::{Attached, Input, Output};

use crate::{
    cgroup::{Cgroup, parents::USUAL},
    shim::{
        launch::{Launch, file},
        protocol::{Exit, Started},
    },
};
use error::io_error;

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
    /// When it was started, on the clock that nobody sets.
    since: Instant,
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

    /// The executable that becomes a shim when its first argument is [`shim::VERB`].
    pub fn exe(&self) -> &Path {
        &self.inner.settings.exe
    }

    fn live(&self, id: &str) -> Result<Live, RuntimeError> {
        match self.containers().get(id) {
            Some(Entry::Live(live)) if live.runs() => Ok(live.clone()),
            _ => Err(RuntimeError::NotRunning(id.to_owned())),
        }
    }

    fn connect(&self, id: &str) -> Result<(Output, Input), RuntimeError> {
        stream::connect(&self.dir(id).join(file::SOCKET)).map_err(io_error(id, "reach its shim"))
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

/// How long a shim may take to answer what it answers at once, before somebody is told that it hangs.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

fn cgroup_of(dir: &Path, id: &str) -> Cgroup {
    let launched = Launch::read(dir).and_then(|launch| launch.cgroup());
    launched.or_else(|_| Cgroup::at(&format!("{USUAL}/{id}"))).unwrap_or(Cgroup::V1(Default::default()))
}

async fn blocking<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await?
}
