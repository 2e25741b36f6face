//! The writer: a thread of its own that takes commands in turn and brings each about before it takes the next.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use model::{
    Change, Command, ContainerId, Event, State, container::Exit, decide, decide::Task, event::EventKind, host::Settings,
};
use netstate::{Fault, NetState, Plan};
use store::StoreError;
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use crate::{
    EngineError, Events, Host, Journal, World, clock,
    commit::{self, Mode},
    found::Found,
    host::Drift,
    userspace::{self, Userspace},
    wait::Waiters,
    work::{Reply, Work},
};

/// What the writer is asked.
pub enum Request {
    /// Decide a command and bring it about.
    Command(Box<Command>, Reply),
    /// Somebody else changed the host's network: look, and put right what is ours.
    Surprise(String),
    /// What would be done now.
    Compare(oneshot::Sender<Result<Plan, Fault>>),
    /// The host's network as it must be.
    Desired(oneshot::Sender<NetState>),
    /// Take everything off the host that is ours, and end.
    Leave(oneshot::Sender<Result<(), Fault>>),
}

/// A command that holds.
pub struct Committed {
    /// With it in effect.
    pub state: Arc<State>,
    /// Files of containers that run are about to be written again.
    pub files: bool,
}

/// What the writer shares with the handles.
pub struct Shared {
    /// The state as of the last command.
    pub state: watch::Sender<Arc<State>>,
    /// The feed of events.
    pub events: Events,
    /// Everybody who waits for a container.
    pub waiters: Waiters,
    /// What is to be done about processes and their files.
    pub work: tokio::sync::mpsc::UnboundedSender<Work>,
}

/// The one writer.
pub struct Writer {
    /// The state as of the last command.
    pub state: Arc<State>,
    /// The journal.
    pub journal: Box<dyn Journal>,
    /// The host's network.
    pub host: Host,
    /// The window on the world.
    pub world: Box<dyn World>,
    /// The userspace data plane.
    pub userspace: Userspace,
    /// What it shares with the handles.
    pub shared: Arc<Shared>,
    /// Whether the kernel refused something that must still come true.
    pub unsettled: bool,
    /// What the journal could not be told when it was taken back: nothing else is written before it.
    pub owed: Option<Change>,
}

/// How long after a refusal by the kernel or the journal it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often settings are looked at of which the kernel tells nobody when they change.
const SETTINGS_EVERY: Duration = Duration::from_secs(5);

impl Writer {
    /// Serves until every handle is gone, or it is told to leave.
    pub fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        let mut last_look = Instant::now();
        loop {
            let waits = self.unsettled || self.owed.is_some();
            let patience = if waits { AGAIN } else { SETTINGS_EVERY.saturating_sub(last_look.elapsed()) };
            match inbox.recv_timeout(patience) {
                Ok(Request::Leave(reply)) => {
                    let _ = reply.send(self.leave());
                    return;
                }
                Ok(request) => self.serve(request),
                Err(mpsc::RecvTimeoutError::Timeout) => self.settle(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
            if last_look.elapsed() >= SETTINGS_EVERY {
                self.look_at_settings();
                last_look = Instant::now();
            }
        }
    }

    /// Takes over what is there: decides about every container whose process is not as the journal says, and only then makes the
    /// host as the whole state wants it. The containers whose processes live are returned.
    pub fn open(&mut self, settings: Settings, found: &Found) -> Result<Vec<ContainerId>, EngineError> {
        let mut tasks = self.record(Command::Open(Box::new(settings)))?;
        let live: Vec<_> = self.state.containers.values().filter(|c| c.is_live()).cloned().collect();
        for container in &live {
            if let Some(command) = found.command(container) {
                tasks.extend(self.record(command)?);
            }
        }
        if let Err(fault) = self.host.converge(&self.state) {
            self.settle_later(&fault);
        }
        self.userspace.open(&self.state, self.world.as_mut());
        self.shared.state.send_replace(Arc::clone(&self.state));
        self.start(tasks);
        Ok(live.iter().map(|c| c.id.clone()).filter(|id| found.running.contains_key(id)).collect())
    }

    /// Decides and journals, and leaves the host for later.
    fn record(&mut self, command: Command) -> Result<Vec<Task>, EngineError> {
        let facts = self.world.facts(&self.state, &command);
        let decision = decide(&self.state, &facts, command)?;
        let after = Arc::new(self.state.with(&decision.change));
        self.append(&decision.change, after.revision)?;
        self.state = after;
        decision.events.into_iter().for_each(|event| self.shared.events.emit(event));
        Ok(decision.tasks)
    }

    /// Decides a command and brings it about.
    pub fn commit(&mut self, command: Command) -> Result<Committed, EngineError> {
        let facts = self.world.facts(&self.state, &command);
        let (mode, exit) = (commit::mode(&command), exit_of(&command));
        let decision = decide(&self.state, &facts, command)?;
        let before = Arc::clone(&self.state);
        let after = Arc::new(before.with(&decision.change));
        self.append(&decision.change, after.revision)?;
        self.state = Arc::clone(&after);
        if let Err(fault) = self.host.change(&before, &after, &decision.change) {
            match mode {
                Mode::AllOrNothing => {
                    self.take_back(&before, &decision.change);
                    return Err(fault.into());
                }
                Mode::Eventually => self.settle_later(&fault),
            }
        }
        self.userspace.follow(&before, &after, &decision.change, self.world.as_mut());
        self.shared.state.send_replace(Arc::clone(&after));
        decision.events.into_iter().for_each(|event| self.shared.events.emit(event));
        let readers = userspace::readers(&before, &after, &decision.change);
        let files = !readers.is_empty();
        for container in readers {
            let _ = self.shared.work.send(Work::Files(container));
        }
        self.start(decision.tasks);
        self.shared.waiters.notify(&before, &after, &decision.change, exit.as_ref());
        Ok(Committed { state: after, files })
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Command(command, reply) => self.answer(*command, reply),
            Request::Surprise(what) => self.repair(&what),
            Request::Compare(reply) => drop(reply.send(self.host.compare())),
            Request::Desired(reply) => drop(reply.send(self.host.desired().clone())),
            Request::Leave(_) => {}
        }
    }

    /// Whoever asked may have gone; the command holds all the same.
    fn answer(&mut self, command: Command, reply: Reply) {
        match self.commit(command) {
            // In turn: behind the files.
            Ok(Committed { state, files: true }) => drop(self.shared.work.send(Work::Answer(reply, state))),
            Ok(Committed { state, files: false }) => drop(reply.send(Ok(state))),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn start(&self, tasks: Vec<Task>) {
        for task in tasks {
            // The receiver lives as long as the process.
            let _ = self.shared.work.send(Work::Task(task));
        }
    }

    /// The state before is decided again and brought about; what was done in between is deleted by the same diff. A journal that
    /// cannot be told, as on a full disk, is told later: after a crash until then, a start finds the command as one that was cut short.
    fn take_back(&mut self, before: &State, change: &Change) {
        let undo = commit::inverse(before, change);
        let refused = Arc::clone(&self.state);
        self.state = Arc::new(refused.with(&undo));
        self.owed = Some(undo.clone());
        if let Err(error) = self.pay() {
            warn!(%error, "the journal is told later what was taken back");
        }
        if let Err(fault) = self.host.change(&refused, &self.state, &undo) {
            self.settle_later(&fault);
        }
        self.shared.state.send_replace(Arc::clone(&self.state));
    }

    fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError> {
        self.pay()?;
        self.journal.append(change, revision)
    }

    /// Tells the journal what it is owed.
    fn pay(&mut self) -> Result<(), StoreError> {
        if let Some(owed) = &self.owed {
            self.journal.append(owed, self.state.revision)?;
            self.owed = None;
        }
        Ok(())
    }

    fn settle(&mut self) {
        if self.unsettled {
            self.repair("a refusal by the kernel");
        }
        if let Err(error) = self.pay() {
            debug!(%error, "the journal is told later");
        }
    }

    fn settle_later(&mut self, fault: &Fault) {
        warn!(%fault, "the kernel refused; it is tried again");
        self.unsettled = true;
    }

    fn repair(&mut self, cause: &str) {
        match self.host.repair() {
            Ok(drift) => {
                self.unsettled = false;
                self.tell_repairs(cause, &drift);
            }
            Err(fault) => self.settle_later(&fault),
        }
    }

    fn look_at_settings(&mut self) {
        match self.host.is_setting_adrift() {
            Ok(false) => {}
            Ok(true) => self.repair("a setting was changed"),
            Err(fault) => self.settle_later(&fault),
        }
    }

    fn tell_repairs(&self, cause: &str, drift: &Drift) {
        if drift.repairs.is_empty() {
            return;
        }
        info!(cause, repairs = drift.repairs.len(), "the host's network was put right");
        let at_ms = clock::now_ms();
        let attributes = [("cause".to_owned(), cause.to_owned()), ("repairs".to_owned(), drift.repairs.join("; "))];
        self.shared.events.emit(Event {
            at_ms,
            kind: EventKind::Daemon,
            action: "repair".to_owned(),
            id: "linkspan".to_owned(),
            attributes: attributes.into(),
        });
    }

    fn leave(&mut self) -> Result<(), Fault> {
        self.userspace.close();
        self.host.leave(&self.state)
    }
}

fn exit_of(command: &Command) -> Option<Exit> {
    match command {
        Command::Exited { exit, .. } | Command::Recover { exit, .. } => Some(exit.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
