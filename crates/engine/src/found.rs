//! What an earlier daemon had started, and what must be decided about it.

use std::collections::BTreeMap;

use model::{
    Command, ContainerId,
    container::{Container, Exit, Phase, Run},
};

use crate::clock::now_ms;

/// What an earlier daemon had started.
#[derive(Debug, Default)]
pub struct Found {
    /// Processes that live.
    pub running: BTreeMap<ContainerId, Run>,
    /// Those that ended while nobody was there.
    pub ended: BTreeMap<ContainerId, Exit>,
}

impl Found {
    /// What must be decided about a container that the journal has as live; none if it simply goes on.
    pub fn command(&self, container: &Container) -> Option<Command> {
        let id = container.id.clone();
        match (self.running.get(&id), &container.phase) {
            (Some(run), Phase::Starting) => Some(Command::Started { container: id, run: run.clone() }),
            (Some(_), _) => None,
            (None, _) => Some(Command::Recover { exit: self.exit(container), container: id }),
        }
    }

    /// How it ended. One whose run directory is gone went with a reboot.
    fn exit(&self, container: &Container) -> Exit {
        let lost = || Exit {
            code: 255,
            started_ms: container.run().map_or(0, |run| run.started_ms),
            finished_ms: now_ms(),
            ..Exit::default()
        };
        match &container.phase {
            Phase::Restarting { exit, .. } => exit.clone(),
            _ => self.ended.get(&container.id).cloned().unwrap_or_else(lost),
        }
    }
}
