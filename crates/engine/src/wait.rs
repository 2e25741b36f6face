//! Those who wait for a container: for its end, its removal, its launch.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{
    Change, ContainerId, Record, RecordKey, State,
    container::{Exit, Phase},
};
use tokio::sync::oneshot;

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// That it does not run; at once if it does not now.
    NotRunning,
    /// The next end from now on.
    NextExit,
    /// That it is removed.
    Removed,
}

/// How a launch went: nothing, or the exit code and the reason.
pub type Launched = Result<(), (i32, String)>;

/// How the filling of a container's volumes went: nothing, or the reason.
pub type Filled = Result<(), String>;

/// How the limiting of a running container went: nothing, or the reason.
pub type Limited = Result<(), String>;

/// Those who wait, by container.
type Waiting<T> = Mutex<HashMap<ContainerId, Vec<T>>>;

/// Everybody who waits.
#[derive(Default)]
pub struct Waiters {
    ends: Waiting<(WaitFor, oneshot::Sender<Exit>)>,
    launches: Waiting<oneshot::Sender<Launched>>,
    fills: Waiting<oneshot::Sender<Filled>>,
    limits: Waiting<oneshot::Sender<Limited>>,
    reaps: Waiting<oneshot::Sender<()>>,
}

impl Waiters {
    /// A receiver of the container's end.
    pub fn end(&self, container: &ContainerId, what: WaitFor) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut ends = lock(&self.ends);
        let waiting = ends.entry(container.clone()).or_default();
        waiting.retain(|(_, sender)| !sender.is_closed());
        waiting.push((what, sender));
        receiver
    }

    /// A receiver of how the container's launch went.
    pub fn launch(&self, container: &ContainerId) -> oneshot::Receiver<Launched> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.launches).entry(container.clone()).or_default().push(sender);
        receiver
    }

    /// The launch is over.
    pub fn launched(&self, container: &ContainerId, how: &Launched) {
        for sender in lock(&self.launches).remove(container).unwrap_or_default() {
            // Whoever stopped waiting does not want to know.
            let _ = sender.send(how.clone());
        }
    }

    /// A receiver of how the filling of a new container's volumes went.
    pub fn fill(&self, container: &ContainerId) -> oneshot::Receiver<Filled> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.fills).entry(container.clone()).or_default().push(sender);
        receiver
    }

    /// The filling is over.
    pub fn filled(&self, container: &ContainerId, how: &Filled) {
        for sender in lock(&self.fills).remove(container).unwrap_or_default() {
            // Whoever stopped waiting does not want to know.
            let _ = sender.send(how.clone());
        }
    }

    /// A receiver of how it goes to limit a running container anew.
    pub fn limit(&self, container: &ContainerId) -> oneshot::Receiver<Limited> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.limits).entry(container.clone()).or_default().push(sender);
        receiver
    }

    /// It has its limits, or was refused them.
    pub fn limited(&self, container: &ContainerId, how: &Limited) {
        for sender in lock(&self.limits).remove(container).unwrap_or_default() {
            // Whoever stopped waiting does not want to know.
            let _ = sender.send(how.clone());
        }
    }

    /// A receiver of the end of the container's last trace.
    pub fn reap(&self, container: &ContainerId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.reaps).entry(container.clone()).or_default().push(sender);
        receiver
    }

    /// Nothing is left of the container.
    pub fn reaped(&self, container: &ContainerId) {
        for sender in lock(&self.reaps).remove(container).unwrap_or_default() {
            let _ = sender.send(());
        }
    }

    /// Tells those whom the change concerns. `ended` is the exit that the change tells of, if it does.
    pub fn notify(&self, before: &State, after: &State, change: &Change, ended: Option<&Exit>) {
        let puts = change.puts.iter().map(Record::key);
        for key in puts.chain(change.deletes.iter().cloned()) {
            let RecordKey::Container(id) = key else { continue };
            let was_live = before.containers.get(&id).is_some_and(|c| c.is_live());
            match after.containers.get(&id) {
                Some(container) => match &container.phase {
                    Phase::Exited(exit) | Phase::Restarting { exit, .. } if was_live => self.ended(&id, exit),
                    _ => {}
                },
                None => {
                    // Nobody waits for the end of what is removed by force: it is killed.
                    let killed = || Exit { code: 137, ..Exit::default() };
                    let last = || if was_live { killed() } else { last_exit(before, &id) };
                    self.removed(&id, &ended.cloned().unwrap_or_else(last));
                }
            }
        }
    }

    fn ended(&self, id: &ContainerId, exit: &Exit) {
        let mut ends = lock(&self.ends);
        let Some(waiting) = ends.remove(id) else { return };
        let (stay, go): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(what, _)| *what == WaitFor::Removed);
        if !stay.is_empty() {
            ends.insert(id.clone(), stay);
        }
        for (_, sender) in go {
            let _ = sender.send(exit.clone());
        }
    }

    fn removed(&self, id: &ContainerId, exit: &Exit) {
        for (_, sender) in lock(&self.ends).remove(id).unwrap_or_default() {
            let _ = sender.send(exit.clone());
        }
    }
}

/// How the container last ended, as far as the state knows.
pub fn last_exit(state: &State, id: &ContainerId) -> Exit {
    match state.containers.get(id).map(|c| &c.phase) {
        Some(Phase::Exited(exit) | Phase::Restarting { exit, .. }) => exit.clone(),
        Some(Phase::Created) => Exit::default(),
        // Removed by force while it ran.
        Some(_) => Exit { code: 137, ..Exit::default() },
        None => Exit::default(),
    }
}

/// What is behind the lock is whole between any two statements, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
