//! A container's life between its start and its end.

use super::{
    super::{Task, draft::Draft, sandbox, volume},
    check_joins, forget, restart,
};
use crate::{
    command::AnonymousVolumes,
    container::{AfterExit, Container, Exit, Health, HealthStatus, Phase, Run, Want},
    id::ContainerId,
    refusal::Refusal,
};

/// SIGKILL, signal(7).
const KILL: i32 = 9;

/// A user starts it.
pub fn start(draft: &mut Draft, id: &ContainerId) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    match container.phase {
        Phase::Created | Phase::Exited(_) => {}
        Phase::Paused(_) => {
            return Err(Refusal::Conflict("cannot start a paused container, try unpause instead".to_owned()));
        }
        Phase::Starting | Phase::Running(_) | Phase::Restarting { .. } => {
            return Err(Refusal::Unchanged(format!("container {id} is already started")));
        }
    }
    launch(draft, &container)?;
    draft.edit_container(id, |container| {
        container.want = Want::Running;
        container.restarts = 0;
        container.backoff_ms = 0;
    });
    Ok(())
}

/// Brings a container's sandbox up, and asks for its process.
pub fn launch(draft: &mut Draft, container: &Container) -> Result<(), Refusal> {
    check_joins(draft, container)?;
    sandbox::up(draft, &container.sandbox)?;
    volume::tell(draft, &container.id, "mount");
    draft.edit_container(&container.id, |container| {
        container.phase = Phase::Starting;
        container.health = None;
    });
    draft.task(Task::Launch(container.id.clone()));
    Ok(())
}

/// Its process runs.
pub fn started(draft: &mut Draft, id: &ContainerId, run: Run) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    if container.phase != Phase::Starting {
        return Err(Refusal::Unchanged(format!("container {id} is not being started")));
    }
    draft.edit_container(id, |container| {
        container.phase = Phase::Running(run);
        let starting = || Health { status: HealthStatus::Starting, failing: 0, results: Vec::new() };
        container.health = container.health_check.as_ref().map(|_| starting());
    });
    draft.tell_container(id, "start", &[]);
    // Its user has changed their mind meanwhile.
    if container.want != Want::Running {
        draft.task(Task::Kill(id.clone()));
    }
    Ok(())
}

/// Its process ended, or could not be started.
pub fn exited(draft: &mut Draft, id: &ContainerId, exit: Exit) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    if container.run().is_none() && container.phase != Phase::Starting {
        return Err(Refusal::Unchanged(not_running(id)));
    }
    tell_end(draft, id, &exit);
    match restart::pause_ms(&container, &exit) {
        Some(pause_ms) => restart::wait(draft, id, exit, pause_ms),
        None => end(draft, id, exit),
    }
    Ok(())
}

/// The user wants it to end, for good or to be started again; the signals are sent by whoever asked.
pub fn stop(draft: &mut Draft, id: &ContainerId, signal: i32, want: Want) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    draft.edit_container(id, |container| container.want = want);
    if container.run().is_some() {
        draft.tell_container(id, "kill", &[("signal", signal.to_string())]);
    }
    match &container.phase {
        Phase::Created | Phase::Exited(_) => {
            return Err(Refusal::Unchanged(format!("container {id} is already stopped")));
        }
        Phase::Restarting { exit, .. } => end(draft, id, exit.clone()),
        Phase::Paused(run) => thaw(draft, id, run.clone()),
        Phase::Starting | Phase::Running(_) => {}
    }
    Ok(())
}

/// A signal is about to be sent. The one that ends it for certain, or by its own choice, also ends its policy.
pub fn kill(draft: &mut Draft, id: &ContainerId, signal: i32) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    let Some(run) = container.run() else {
        return Err(Refusal::Conflict(format!("cannot kill container: {}: {}", container.name, not_running(id))));
    };
    draft.tell_container(id, "kill", &[("signal", signal.to_string())]);
    if signal != KILL && signal != container.stop.signal {
        return Ok(());
    }
    if container.want == Want::Running {
        draft.edit_container(id, |container| container.want = Want::Killed);
    }
    if matches!(container.phase, Phase::Paused(_)) {
        thaw(draft, id, run.clone());
    }
    Ok(())
}

/// Freezes its processes.
pub fn pause(draft: &mut Draft, id: &ContainerId) -> Result<(), Refusal> {
    let container = draft.container(id)?;
    let words = match &container.phase {
        Phase::Running(run) => {
            let run = run.clone();
            draft.edit_container(id, |container| container.phase = Phase::Paused(run));
            draft.task(Task::Freeze(id.clone()));
            draft.tell_container(id, "pause", &[]);
            return Ok(());
        }
        Phase::Paused(_) => format!("container {id} is already paused"),
        Phase::Restarting { .. } => format!("Container {id} is restarting, wait until the container is running"),
        Phase::Created | Phase::Starting | Phase::Exited(_) => not_running(id),
    };
    Err(Refusal::Conflict(words))
}

/// Lets them go on.
pub fn unpause(draft: &mut Draft, id: &ContainerId) -> Result<(), Refusal> {
    match &draft.container(id)?.phase {
        Phase::Paused(run) => {
            thaw(draft, id, run.clone());
            Ok(())
        }
        _ => Err(Refusal::Conflict(format!("Container {id} is not paused"))),
    }
}

/// It is killed and removed in one go: its end is told of now.
pub fn end_by_force(draft: &mut Draft, container: &Container) {
    let id = &container.id;
    if container.run().is_some() || container.phase == Phase::Starting {
        let started_ms = container.run().map_or(0, |run| run.started_ms);
        let finished_ms = draft.facts.now_ms;
        // Nobody waits for the report of its shim, which would know better how long it ran.
        let ran_ms = container.run().map_or(0, |run| u64::try_from(finished_ms - run.started_ms).unwrap_or(0));
        let exit = Exit { code: 128 + KILL, started_ms, finished_ms, ran_ms, ..Exit::default() };
        draft.tell_container(id, "kill", &[("signal", KILL.to_string())]);
        tell_end(draft, id, &exit);
        draft.task(Task::Kill(id.clone()));
        draft.edit_container(id, |container| container.phase = Phase::Exited(exit));
    } else {
        draft.edit_container(id, |container| container.phase = Phase::Created);
    }
    volume::tell(draft, id, "unmount");
    sandbox::settle(draft, &container.sandbox);
}

/// It stays ended.
pub fn end(draft: &mut Draft, id: &ContainerId, exit: Exit) {
    draft.edit_container(id, |container| {
        container.phase = Phase::Exited(exit);
        container.health = None;
    });
    let Some(container) = draft.state.containers.get(id).cloned() else { return };
    sandbox::settle(draft, &container.sandbox);
    volume::tell(draft, id, "unmount");
    if matches!(container.want, Want::Stopped | Want::Restarted) {
        draft.tell_container(id, "stop", &[]);
    }
    if container.after_exit == AfterExit::Remove && container.want != Want::Restarted {
        forget(draft, &container, AnonymousVolumes::Remove);
    }
}

/// Tells how a process ended.
pub fn tell_end(draft: &mut Draft, id: &ContainerId, exit: &Exit) {
    if exit.oom_killed {
        draft.tell_container(id, "oom", &[]);
    }
    let ran_s = exit.ran_ms / 1000;
    draft.tell_container(id, "die", &[("execDuration", ran_s.to_string()), ("exitCode", exit.code.to_string())]);
}

fn thaw(draft: &mut Draft, id: &ContainerId, run: Run) {
    draft.edit_container(id, |container| container.phase = Phase::Running(run));
    draft.task(Task::Thaw(id.clone()));
    draft.tell_container(id, "unpause", &[]);
}

fn not_running(id: &ContainerId) -> String {
    format!("container {id} is not running")
}
