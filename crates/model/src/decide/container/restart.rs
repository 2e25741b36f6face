//! Restarts by policy: when, after which pause, and what happens when the daemon starts.

use super::{
    super::{Task, draft::Draft},
    life,
};
use crate::{
    container::{Container, Exit, Phase, Restart, Want},
    id::ContainerId,
    refusal::Refusal,
};

/// The first pause, milliseconds.
const SHORTEST_MS: u32 = 100;
/// The longest pause, milliseconds.
const LONGEST_MS: u32 = 60_000;
/// Whoever ran so long starts with the first pause again, milliseconds.
const STABLE_MS: u64 = 10_000;

/// The pause before the next start; none when it stays ended. A start that a user waits for is not tried again when it fails.
pub fn pause_ms(container: &Container, exit: &Exit) -> Option<u32> {
    let first_start_failed = exit.error.is_some() && container.restarts == 0;
    if container.want != Want::Running || first_start_failed || !policy_holds(container, exit) {
        return None;
    }
    Some(if exit.ran_ms >= STABLE_MS { SHORTEST_MS } else { next_pause_ms(container.backoff_ms) })
}

/// It will be started again after a pause.
pub fn wait(draft: &mut Draft, id: &ContainerId, exit: Exit, pause_ms: u32) {
    let due_ms = draft.facts.now_ms.saturating_add(pause_ms.into());
    draft.edit_container(id, |container| {
        container.phase = Phase::Restarting { exit, due_ms, pause_ms };
        container.backoff_ms = pause_ms;
        container.health = None;
    });
    draft.task(Task::RestartAfter { container: id.clone(), pause_ms });
}

/// The pause is over.
pub fn due(draft: &mut Draft, id: &ContainerId) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    let Phase::Restarting { exit, .. } = &container.phase else {
        return Err(Refusal::Unchanged(format!("container {id} does not wait for a restart")));
    };
    again(draft, &container, exit.clone());
    Ok(())
}

/// The daemon starts, and there is no process: it is gone, or a restart was under way. The policy starts it at once.
pub fn recover(draft: &mut Draft, id: &ContainerId, exit: Exit) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    match &container.phase {
        Phase::Created | Phase::Exited(_) => Err(Refusal::Unchanged(format!("container {id} is not running"))),
        Phase::Restarting { exit, .. } => {
            again(draft, &container, exit.clone());
            Ok(())
        }
        Phase::Starting | Phase::Running(_) | Phase::Paused(_) => {
            life::tell_end(draft, id, &exit);
            match container.want == Want::Running && policy_holds(&container, &exit) {
                true => again(draft, &container, exit),
                false => life::end(draft, id, exit),
            }
            Ok(())
        }
    }
}

/// The daemon starts: containers that had ended, and whose policy says so, wait for their restart, which `recover` brings.
pub fn boot(draft: &mut Draft) {
    let containers: Vec<_> = draft.state.containers.values().cloned().collect();
    for container in containers {
        // Whoever asked for the restart went with the last daemon, and it has not ended: it just runs.
        if container.is_live() && container.want == Want::Restarted {
            draft.edit_container(&container.id, |container| container.want = Want::Running);
        }
        if let Phase::Exited(exit) = &container.phase
            && starts_with_daemon(&container, exit)
        {
            let due_ms = draft.facts.now_ms;
            draft.edit_container(&container.id, |container| {
                container.want = Want::Running;
                container.phase = Phase::Restarting { exit: exit.clone(), due_ms, pause_ms: 0 };
                container.backoff_ms = 0;
            });
        }
    }
}

/// Starts it now; when that is refused (whom it joins is not up yet, its port is taken), it waits twice as long as before.
fn again(draft: &mut Draft, container: &Container, exit: Exit) {
    let launched = draft.attempt(|draft| life::launch(draft, container));
    match launched {
        Ok(()) => draft.edit_container(&container.id, |container| container.restarts += 1),
        Err(refusal) => {
            let exit = Exit { error: Some(refusal.to_string()), ..exit };
            wait(draft, &container.id, exit, next_pause_ms(container.backoff_ms));
        }
    }
}

fn next_pause_ms(before_ms: u32) -> u32 {
    before_ms.saturating_mul(2).clamp(SHORTEST_MS, LONGEST_MS)
}

fn policy_holds(container: &Container, exit: &Exit) -> bool {
    match container.restart {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure { most } => exit.code != 0 && (most == 0 || container.restarts < most),
    }
}

/// Always means also after a stop by hand, once the daemon starts again. A restart that the last daemon did not finish is finished.
fn starts_with_daemon(container: &Container, exit: &Exit) -> bool {
    if container.want == Want::Restarted {
        return true;
    }
    match container.restart {
        Restart::Always => true,
        Restart::No | Restart::UnlessStopped | Restart::OnFailure { .. } => {
            container.want == Want::Running && policy_holds(container, exit)
        }
    }
}
