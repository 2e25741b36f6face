//! The engine as the faces see it.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use arc_swap::ArcSwap;
use model::{
    Command, ContainerId, Refusal, State,
    command::{AnonymousVolumes, Force},
    container::Exit,
    host::Settings,
};
use netstate::{Kernel, NetState, Plan};
use plan::listener::ListenerTable;
use proxy::dns::{Limits, Server};
use store::Store;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{
    EngineError, Events, Host, World,
    supervise::{Places, Supervisor},
    userspace::Userspace,
    wait::{Waiters, last_exit},
    writer::{Request, Shared, Writer},
};

pub use crate::wait::WaitFor;

/// A handle to the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    state: watch::Receiver<Arc<State>>,
    runtime: Arc<runtime::Runtime>,
    images: runtime::image::Store,
    listeners: Arc<ArcSwap<ListenerTable>>,
}

/// What the engine is put together from.
pub struct Parts {
    /// The journal.
    pub store: Store,
    /// What was read from it.
    pub state: State,
    /// Linux, or a fake of it.
    pub kernel: Box<dyn Kernel>,
    /// The window on the world.
    pub world: Box<dyn World>,
    /// The processes.
    pub runtime: Arc<runtime::Runtime>,
    /// The images.
    pub images: runtime::image::Store,
    /// Where the containers' files are.
    pub places: Places,
    /// What the daemon is started with.
    pub settings: Settings,
}

impl Engine {
    /// Takes over what is there: adopts the processes that live, lets the policies decide about those that ended, makes the network as
    /// the state says, and serves. Must be called within a tokio runtime.
    pub async fn open(parts: Parts) -> Result<Self, EngineError> {
        let (inbox, requests) = mpsc::channel();
        let (work, todo) = tokio::sync::mpsc::unbounded_channel();
        let state = Arc::new(parts.state);
        let (publish, watched) = watch::channel(Arc::clone(&state));
        let shared = Arc::new(Shared { state: publish, events: Events::default(), waiters: Waiters::default(), work });
        let listeners = Arc::default();
        let mut writer = Writer {
            state,
            store: parts.store,
            host: Host::new(parts.kernel),
            userspace: Userspace::new(Server::new(Handle::current(), Limits::default()), Arc::clone(&listeners)),
            world: parts.world,
            shared: Arc::clone(&shared),
            unsettled: false,
        };
        let engine = Self { inbox, shared, state: watched, runtime: parts.runtime, images: parts.images, listeners };
        let supervisor = Supervisor::new(engine.clone(), parts.places);
        let found = supervisor.find().await?;
        let (opened, ready) = oneshot::channel();
        let settings = parts.settings;
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let result = writer.open(settings, &found);
                let go_on = result.is_ok();
                // The opener waits for it.
                let _ = opened.send(result);
                if go_on {
                    writer.run(&requests);
                }
            })
            .map_err(EngineError::Thread)?;
        let adopted = ready.await.map_err(|_| EngineError::Closed)??;
        supervisor.run(todo, adopted);
        Ok(engine)
    }

    /// The state as of the last command. Cheap: a pointer is copied.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }

    /// The state as it changes.
    pub fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.state.clone()
    }

    /// Decides, journals and applies a command. On success the returned state has it in effect; on an error nothing has changed.
    pub async fn submit(&self, command: Command) -> Result<Arc<State>, EngineError> {
        self.ask(|reply| Request::Command(Box::new(command), reply)).await?
    }

    /// Starts a container and returns when its process runs, or could not be started (`EngineError::Launch`).
    pub async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let launched = self.shared.waiters.launch(container);
        self.submit(Command::Start(container.clone())).await?;
        match launched.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((code, message))) => Err(EngineError::Launch { code, message }),
            Err(_) => Err(EngineError::Closed),
        }
    }

    /// Asks the process to end with its stop signal, and kills it after the timeout (seconds; negative: never; none: the container's own).
    /// Returns when it has ended.
    pub async fn stop(
        &self,
        container: &ContainerId,
        timeout_s: Option<i64>,
        signal: Option<i32>,
    ) -> Result<(), EngineError> {
        crate::supervise::stop(self, container, timeout_s, signal).await
    }

    /// Removes a container; one that runs is killed first if that may be. Returns when nothing is left of it.
    pub async fn remove(
        &self,
        container: &ContainerId,
        force: Force,
        volumes: AnonymousVolumes,
    ) -> Result<(), EngineError> {
        let runs = self.state().containers.get(container).is_some_and(|c| c.is_live());
        if runs && force == Force::Kill {
            match self.stop(container, Some(0), Some(9)).await {
                Ok(()) | Err(EngineError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let reaped = self.shared.waiters.reap(container);
        match self.submit(Command::RemoveContainer { container: container.clone(), force, volumes }).await {
            // It removes itself when it ends.
            Err(EngineError::Refused(Refusal::NotFound { .. })) if runs => return Ok(()),
            other => other?,
        };
        reaped.await.map_err(|_| EngineError::Closed)
    }

    /// Sends a signal.
    pub async fn kill(&self, container: &ContainerId, signal: i32) -> Result<(), EngineError> {
        crate::supervise::kill(self, container, signal).await
    }

    /// A future that ends with the container's exit. Subscribed when this returns, so that a start right after is not missed.
    pub fn wait(
        &self,
        container: &ContainerId,
        what: WaitFor,
    ) -> impl Future<Output = Result<Exit, EngineError>> + Send + 'static {
        let ended = self.shared.waiters.end(container, what);
        let state = self.state();
        let container = container.clone();
        async move {
            match state.containers.get(&container) {
                Some(found) if what == WaitFor::NotRunning && !found.is_live() => Ok(last_exit(&state, &container)),
                None => Ok(Exit::default()),
                Some(_) => ended.await.map_err(|_| EngineError::Closed),
            }
        }
    }

    /// The feed of events; faces also tell it what they did themselves (pull, exec, attach).
    pub fn events(&self) -> &Events {
        &self.shared.events
    }

    /// The processes: attach, exec, logs, stats, files.
    pub fn runtime(&self) -> &Arc<runtime::Runtime> {
        &self.runtime
    }

    /// The image store.
    pub fn images(&self) -> &runtime::image::Store {
        &self.images
    }

    /// Where the userspace listeners lead; follows the state.
    pub fn listeners(&self) -> &Arc<ArcSwap<ListenerTable>> {
        &self.listeners
    }

    /// Somebody else changed the host's network: what is ours is looked at, and put right.
    pub fn surprise(&self, what: String) {
        // A closed engine needs no repair.
        let _ = self.inbox.send(Request::Surprise(what));
    }

    /// What would be done now to make the host as it must be.
    pub async fn compare(&self) -> Result<Plan, EngineError> {
        Ok(self.ask(Request::Compare).await??)
    }

    /// The host's network as it must be.
    pub async fn desired(&self) -> Result<NetState, EngineError> {
        self.ask(Request::Desired).await
    }

    /// Takes everything off the host that is ours, and closes. Containers must have ended.
    pub async fn leave(&self) -> Result<(), EngineError> {
        Ok(self.ask(Request::Leave).await??)
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(request(reply)).map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_: oneshot::error::RecvError| EngineError::Closed)
    }
}
