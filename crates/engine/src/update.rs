//! Changing a container's limits and policy.

use std::pin::pin;

use model::{Command, ContainerId, Document, State, container::Resources, container::Restart};

use crate::{Engine, EngineError, WaitFor};

/// What changes about a container.
#[derive(Clone, Debug)]
pub struct ContainerUpdate {
    /// Its limits from now on.
    pub resources: Box<Resources>,
    /// Its policy from now on, if that changes.
    pub restart: Option<Restart>,
    /// What the face keeps of it from now on.
    pub face: Document,
}

impl ContainerUpdate {
    /// What makes it as it is now.
    fn of(state: &State, container: &ContainerId) -> Option<Self> {
        let found = state.containers.get(container)?;
        let face = state.documents.get(container).cloned().unwrap_or_default();
        Some(Self { resources: Box::new(found.resources.clone()), restart: Some(found.restart), face })
    }

    fn command(self, container: &ContainerId) -> Command {
        let Self { resources, restart, face } = self;
        Command::Update { container: container.clone(), resources, restart, face }
    }
}

impl Engine {
    /// Changes limits and policy, and returns when a container that runs has them. What the kernel refuses is taken back.
    pub async fn update(&self, container: &ContainerId, update: ContainerUpdate) -> Result<(), EngineError> {
        let ended = self.wait(container, WaitFor::NotRunning);
        let state = self.state();
        let before = ContainerUpdate::of(&state, container);
        let changes = before.as_ref().is_some_and(|before| before.resources != update.resources);
        let limited = changes.then(|| self.shared.waiters.limit(container));
        self.submit(update.command(container)).await?;
        let Some(limited) = limited else { return Ok(()) };
        // One that does not run is limited when it starts.
        let mut ended = pin!(ended);
        let outcome = tokio::select! {
            biased;
            outcome = limited => outcome.unwrap_or(Ok(())),
            _ = &mut ended => Ok(()),
        };
        if let (Err(_), Some(before)) = (&outcome, before) {
            self.submit(before.command(container)).await?;
        }
        outcome.map_err(EngineError::Limit)
    }
}
