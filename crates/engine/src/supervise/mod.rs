//! What is done about processes: tasks that a decision leaves, the exits that come back as commands, health checks, and finding
//! everything again when the daemon starts.

mod end;
mod files;
mod find;
mod health;
mod launch;
mod places;
mod refused;
mod volumes;

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use model::{
    Command, ContainerId,
    container::{Exit, Run},
    decide::Task,
};
use runtime::{RuntimeError, oci::VolumeData, words::sentence};
use tokio::{
    sync::{OwnedMutexGuard, mpsc},
    task::AbortHandle,
};
use tracing::{debug, warn};

pub use places::Places;
use refused::{PrepareError, Refused};

use crate::{Engine, EngineError, clock::now_ms, work::Work};

/// How long after a failure of the journal it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Does what decisions leave to be done about processes.
#[derive(Clone)]
pub struct Supervisor {
    engine: Engine,
    places: Arc<Places>,
    /// The health checks that run, by container.
    checks: Arc<Mutex<HashMap<ContainerId, AbortHandle>>>,
    /// Held while a container is filled, launched or reaped: what one of them makes, another may be taking away.
    turns: Arc<Mutex<HashMap<ContainerId, Arc<tokio::sync::Mutex<()>>>>>,
    /// Held while directories of volumes are made or taken away: a container that was removed with its volumes does not bring them back.
    volumes: Arc<Mutex<()>>,
    /// Held while what the containers of a sandbox share is made or let go of.
    sandboxes: Arc<Mutex<()>>,
    /// Held while volumes are filled: two containers may be made that share a new one.
    filling: Arc<tokio::sync::Mutex<()>>,
    /// Held while a container is started that mounts a file system which others may have mounted: the first mounts it, the others
    /// share that.
    mounting: Arc<tokio::sync::Mutex<()>>,
}

impl Supervisor {
    /// A supervisor that does nothing yet.
    pub fn new(engine: Engine, places: Places) -> Self {
        Self {
            engine,
            places: Arc::new(places),
            checks: Arc::default(),
            turns: Arc::default(),
            volumes: Arc::default(),
            sandboxes: Arc::default(),
            filling: Arc::default(),
            mounting: Arc::default(),
        }
    }

    /// Follows the processes that were adopted, and does tasks as they come.
    pub fn run(self, mut work: mpsc::UnboundedReceiver<Work>, adopted: Vec<ContainerId>) {
        for container in adopted {
            self.follow(container);
        }
        tokio::spawn(async move {
            while let Some(work) = work.recv().await {
                match work {
                    Work::Files(container) => self.refresh_files(&container),
                    Work::Answer(reply, state) => drop(reply.send(Ok(state))),
                    // In turn: the next task may be about a new volume of the same name.
                    Work::Task(task @ (Task::MakeVolume(_) | Task::DropVolume(_))) => self.perform(task).await,
                    Work::Task(task) => {
                        let supervisor = self.clone();
                        tokio::spawn(async move { supervisor.perform(task).await });
                    }
                }
            }
        });
    }

    async fn perform(&self, task: Task) {
        match task {
            Task::Launch(container) => self.launch(container).await,
            Task::Kill(container) => {
                report(container.as_str(), "kill it", self.engine.runtime().signal(container.as_str(), SIGKILL).await)
            }
            Task::Freeze(container) => {
                report(container.as_str(), "freeze it", self.engine.runtime().pause(container.as_str()).await)
            }
            Task::Thaw(container) => {
                report(container.as_str(), "thaw it", self.engine.runtime().resume(container.as_str()).await)
            }
            Task::RestartAfter { container, pause_ms } => self.restart_after(container, pause_ms).await,
            Task::Limit(container) => self.limit(&container).await,
            Task::Reap(container) => self.reap(&container).await,
            Task::Release(sandbox) => self.release(&self.places.sandbox(&sandbox)),
            Task::Fill(container) => self.fill(&container).await,
            Task::MakeVolume(name) => self.make_volume(&name),
            Task::DropVolume(name) => self.drop_volume(&name),
        }
    }

    /// Starts the process and tells the engine how it went.
    async fn launch(&self, container: ContainerId) {
        let _turn = self.turn(&container).await;
        let shares = volumes::has_filesystem(&self.engine.state(), &container);
        let _first_or_sharing = if shares { Some(self.mounting.lock().await) } else { None };
        let outcome = match self.prepare(&container).await {
            Ok(launch) => self.engine.runtime().start(&launch).await.map_err(Refused::from),
            Err(refused) => Err(refused),
        };
        let told = match outcome {
            Ok(started) => {
                let started_ms = i64::try_from(started.started_ms).unwrap_or(i64::MAX);
                let run = Run { pid: started.pid, started_ms };
                let told = self.tell(Command::Started { container: container.clone(), run }).await.map(|()| Ok(()));
                self.follow(container.clone());
                told
            }
            Err(Refused { code, message }) => {
                let exit = Exit { code, finished_ms: now_ms(), error: Some(message.clone()), ..Exit::default() };
                let told = self.tell(Command::Exited { container: container.clone(), exit }).await;
                told.map(|()| Err((code, message)))
            }
        };
        let launched = told.unwrap_or_else(|error| Err((125, error.to_string())));
        self.engine.shared.waiters.launched(&container, &launched);
    }

    /// Fills the empty volumes of a new container and tells whoever waits how it went.
    async fn fill(&self, container: &ContainerId) {
        let _turn = self.turn(container).await;
        let one_at_a_time = self.filling.lock().await;
        let outcome = self.fill_volumes(container).await.map_err(|refused| refused.message);
        drop(one_at_a_time);
        self.engine.shared.waiters.filled(container, &outcome);
    }

    /// Waits for the end of a process that runs, and tells the engine; checks its health meanwhile.
    fn follow(&self, container: ContainerId) {
        let supervisor = self.clone();
        self.check_health(&container);
        tokio::spawn(async move {
            let exit = match supervisor.engine.runtime().wait(container.as_str()).await {
                Ok(exit) => exit,
                Err(error) => return debug!(%container, %error, "nothing to wait for"),
            };
            supervisor.stop_checks(&container);
            let started_ms =
                supervisor.engine.state().containers.get(&container).and_then(|c| c.run().map(|run| run.started_ms));
            let exit = find::exit(exit, started_ms.unwrap_or_default());
            if let Err(error) = supervisor.tell(Command::Exited { container: container.clone(), exit }).await {
                // A forced removal takes the container away before its end is told.
                debug!(%container, %error, "the end of a process concerned nobody");
            }
        });
    }

    /// Tells the engine what has come true. While the journal cannot be written, as on a full disk, it is told again: nobody else
    /// knows of it.
    async fn tell(&self, fact: Command) -> Result<(), EngineError> {
        loop {
            match self.engine.submit(fact.clone()).await {
                Err(EngineError::Store(error)) => warn!(%error, "what has happened is told again"),
                told => return told.map(|_| ()),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn check_health(&self, container: &ContainerId) {
        let state = self.engine.state();
        let Some(check) = state.containers.get(container).and_then(|c| c.health_check.clone()) else { return };
        let task = tokio::spawn(health::watch(self.engine.clone(), container.clone(), check));
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = checks.insert(container.clone(), task.abort_handle()) {
            old.abort();
        }
    }

    fn stop_checks(&self, container: &ContainerId) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(check) = checks.remove(container) {
            check.abort();
        }
    }

    async fn restart_after(&self, container: ContainerId, pause_ms: u32) {
        tokio::time::sleep(Duration::from_millis(pause_ms.into())).await;
        if let Err(error) = self.tell(Command::RestartDue(container.clone())).await {
            // It was stopped, started or removed in the meantime.
            debug!(%container, %error, "not restarted");
        }
    }

    async fn limit(&self, container: &ContainerId) {
        let state = self.engine.state();
        let Some(found) = state.containers.get(container) else { return };
        let outcome = self.engine.runtime().update(container.as_str(), &found.resources).await;
        let how = match &outcome {
            // What does not run is limited when it starts.
            Ok(()) | Err(RuntimeError::NotRunning(_)) => Ok(()),
            Err(error) => Err(sentence(error)),
        };
        report(container.as_str(), "limit it", outcome);
        self.engine.shared.waiters.limited(container, &how);
    }

    async fn reap(&self, container: &ContainerId) {
        let _turn = self.turn(container).await;
        self.stop_checks(container);
        report(container.as_str(), "remove what is left of it", self.engine.runtime().reap(container.as_str()).await);
        if let Err(error) = self.engine.images().remove_snapshot(container.as_str()).await {
            warn!(%container, %error, "cannot remove its writable layer");
        }
        files::remove(&self.places.container(container));
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
        self.engine.shared.waiters.reaped(container);
    }

    /// Waits until nothing else is being done about a container.
    async fn turn(&self, container: &ContainerId) -> OwnedMutexGuard<()> {
        let turn =
            self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(container.clone()).or_default().clone();
        turn.lock_owned().await
    }

    /// Lets go of what the containers of a sandbox shared.
    fn release(&self, place: &Path) {
        let _one_at_a_time = self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = runtime::sandbox::release(place) {
            warn!(place = %place.display(), %error, "cannot let go of what a sandbox's containers shared");
        }
    }

    fn make_volume(&self, name: &str) {
        let _alone = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = volumes::make(&self.places, name) {
            // The first container that mounts it tries again, and says so.
            warn!(name, %error, "cannot make the volume's directory");
        }
    }

    /// Takes a volume's directory away at once, so that its name is free; all that is in it goes in its own time.
    fn drop_volume(&self, name: &str) {
        let _alone = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = volumes::set_aside(&self.places, name);
        tokio::task::spawn_blocking(move || files::remove(&removed));
    }

    /// What the volumes of a container consist of.
    fn volumes(&self, container: &ContainerId) -> Result<BTreeMap<String, VolumeData>, PrepareError> {
        let _alone = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        // As it is now: it may have been removed, and its volumes with it.
        let state = self.engine.state();
        let container = state.containers.get(container).ok_or(PrepareError::Gone)?;
        volumes::of(&state, &self.places, container)
    }
}

/// The signal that no process can refuse (signal(7)).
const SIGKILL: i32 = 9;

fn report(container: &str, what: &str, result: Result<(), RuntimeError>) {
    match result {
        Ok(()) | Err(RuntimeError::NotRunning(_)) => {}
        Err(error) => warn!(container, %error, cause = error.source(), "cannot {what}"),
    }
}
