//! The engine as the faces see it.

use std::sync::{Arc, mpsc};

use arc_swap::ArcSwap;
use model::{
    Command, Container, ContainerId, State,
    command::{AnonymousVolumes, ContainerWish, Force},
    container::{AfterExit, Exit},
};
use netstate::{NetState, Plan};
use plan::listener::ListenerTable;
use tokio::sync::{oneshot, watch};

use crate::{
    EngineError, Events,
    wait::last_exit,
    writer::{Request, Shared},
};

pub use crate::wait::WaitFor;

/// A handle to the engine; clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inbox: mpsc::Sender<Request>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: watch::Receiver<Arc<State>>,
    pub(crate) runtime: Arc<runtime::Runtime>,
    pub(crate) images: runtime::image::Store,
    pub(crate) listeners: Arc<ArcSwap<ListenerTable>>,
}

impl Engine {
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

    /// Makes a container, and returns when its empty volumes have what its image has at their places. One whose volumes cannot be filled
    /// is not made.
    pub async fn create(&self, wish: ContainerWish) -> Result<(), EngineError> {
        let id = wish.container.id.clone();
        let filled = wish.container.fills_volumes().then(|| self.shared.waiters.fill(&id));
        let created = self.submit(Command::CreateContainer(Box::new(wish))).await;
        let Some(filled) = filled else { return created.map(drop) };
        if created.is_err() {
            // Nobody fills anything.
            self.shared.waiters.filled(&id, &Ok(()));
            return created.map(drop);
        }
        let outcome = filled.await.unwrap_or_else(|_| Err("the daemon is shutting down".to_owned()));
        if outcome.is_err() {
            // Whoever removed it meanwhile has done it already.
            drop(self.remove(&id, Force::No, AnonymousVolumes::Remove).await);
        }
        outcome.map_err(EngineError::Fill)
    }

    /// Starts a container and returns when its process runs, or could not be started (`EngineError::Launch`).
    pub async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        let launched = self.shared.waiters.launch(container);
        if let Err(refused) = self.submit(Command::Start(container.clone())).await {
            // One that removes itself at its end never comes to an end: it goes now, and who waits for that is told.
            let state = self.state();
            let leaves = |c: &Container| c.after_exit == AfterExit::Remove && !c.is_live();
            if state.containers.get(container).is_some_and(|c| leaves(c)) {
                let _ = self.remove(container, Force::No, AnonymousVolumes::Remove).await;
            }
            return Err(refused);
        }
        match launched.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((code, message))) => Err(EngineError::Launch { code, message }),
            Err(_) => Err(EngineError::Closed),
        }
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

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, EngineError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(request(reply)).map_err(|_| EngineError::Closed)?;
        answer.await.map_err(|_: oneshot::error::RecvError| EngineError::Closed)
    }
}
