//! The engine put together: what is there is taken over before the first command.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use model::{State, host::Settings};
use netstate::Kernel;
use proxy::dns::{Limits, Server};
use store::Store;
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
};

use crate::{
    Engine, EngineError, Events, Host, Places, World,
    supervise::Supervisor,
    userspace::Userspace,
    wait::Waiters,
    writer::{Shared, Writer},
};

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
            journal: Box::new(parts.store),
            host: Host::new(parts.kernel),
            userspace: Userspace::new(Server::new(Handle::current(), Limits::default()), Arc::clone(&listeners)),
            world: parts.world,
            shared: Arc::clone(&shared),
            unsettled: false,
            owed: None,
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
}
