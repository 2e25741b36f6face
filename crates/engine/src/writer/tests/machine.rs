//! A machine that daemons come and go on: a fake kernel, a real journal, and the word of the test about what processes there are.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, TcpListener, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Change, Command, Facts, SandboxId, State, container::Run, host::Settings};
use netstate::{Fault, Kernel, Key, NetState, Plan, Report};
use plan::dns::ResolvConf;
use proxy::dns::{Limits, Server};
use store::{Store, StoreError};
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::mpsc, sync::watch};

use crate::{
    Events, Host, Journal, World,
    found::Found,
    userspace::Userspace,
    wait::Waiters,
    work::Work,
    writer::{Shared, Writer},
};

/// A machine. What is in it outlives the daemons.
pub struct Machine {
    pub kernel: Shelf<sim::Host>,
    pub settings: Settings,
    pub facts: Facts,
    dir: TempDir,
}

/// A daemon that serves on a machine.
pub struct Daemon {
    pub writer: Writer,
    pub todo: mpsc::UnboundedReceiver<Work>,
}

/// What became of the processes while there was no daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They run.
    Live,
    /// They ended.
    Ended,
    /// They, and all that the kernel had, went with a reboot.
    Rebooted,
}

impl Machine {
    pub fn new(settings: Settings, facts: Facts) -> Self {
        Self { kernel: Shelf::new(sim::Host::new()), settings, facts, dir: tempfile::tempdir().unwrap() }
    }

    /// The same machine again, to try something on. No daemon may serve meanwhile.
    pub fn copy(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(self.dir.path()).unwrap() {
            let from = entry.unwrap();
            fs::copy(from.path(), dir.path().join(from.file_name())).unwrap();
        }
        let kernel = Shelf::new(self.kernel.lock().clone());
        Self { kernel, settings: self.settings.clone(), facts: self.facts.clone(), dir }
    }

    /// Starts a daemon.
    pub fn open(&self, fate: Fate) -> Daemon {
        self.open_with(fate, Box::new(self.kernel.clone()))
    }

    /// The same, which sees the kernel through something.
    pub fn open_with(&self, fate: Fate, kernel: Box<dyn Kernel>) -> Daemon {
        self.open_on(fate, kernel, Disk::default())
    }

    /// The same, with a journal on a disk that can be full.
    pub fn open_on(&self, fate: Fate, kernel: Box<dyn Kernel>, disk: Disk) -> Daemon {
        if fate == Fate::Rebooted {
            *self.kernel.lock() = sim::Host::new();
        }
        let (store, state) = Store::open(&self.journal()).unwrap();
        let (work, todo) = mpsc::unbounded_channel();
        let found = found(&state, fate);
        let state = Arc::new(state);
        let (publish, _) = watch::channel(Arc::clone(&state));
        let listeners = Arc::default();
        let mut writer = Writer {
            state,
            journal: Box::new(Paper { store, disk }),
            host: Host::new(kernel),
            userspace: Userspace::new(Server::new(Handle::current(), Limits::default()), listeners),
            world: Box::new(Told(self.facts.clone())),
            shared: Arc::new(Shared { state: publish, events: Events::default(), waiters: Waiters::default(), work }),
            unsettled: false,
            owed: None,
        };
        let adopted = writer.open(self.settings.clone(), &found).unwrap();
        let live: BTreeSet<_> = found.running.keys().cloned().collect();
        assert_eq!(adopted.into_iter().collect::<BTreeSet<_>>(), live, "what runs is adopted");
        Daemon { writer, todo }
    }

    /// A daemon gets the command and is killed when the kernel has done so many steps for it; says whether it came to that.
    pub fn crash(&self, command: &Command, steps: usize) -> Death {
        let left = Arc::new(Mutex::new(None));
        let mortal = Mortal { kernel: self.kernel.clone(), left: Arc::clone(&left) };
        let mut daemon = self.open_with(Fate::Live, Box::new(mortal));
        *left.lock().unwrap() = Some(steps);
        let outcome = catch_unwind(AssertUnwindSafe(|| drop(daemon.writer.commit(command.clone()))));
        if outcome.is_err() { Death::During } else { Death::After }
    }

    /// What the kernel has of ours.
    pub fn observe(&self, desired: &NetState) -> NetState {
        let settings = desired.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect();
        self.kernel.lock().observe(&settings).unwrap()
    }

    /// The state as it is journalled. No daemon may serve meanwhile.
    pub fn journalled(&self) -> State {
        Store::open(&self.journal()).unwrap().1
    }

    fn journal(&self) -> std::path::PathBuf {
        Path::join(self.dir.path(), "state.db")
    }
}

/// When a daemon was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// While the kernel was at work.
    During,
    /// When it had nothing more to do.
    After,
}

/// What an earlier daemon's processes are said to be.
fn found(state: &State, fate: Fate) -> Found {
    let mut found = Found::default();
    if fate == Fate::Live {
        for container in state.containers.values().filter(|c| c.is_live()) {
            match (&container.phase, container.run()) {
                (_, Some(run)) => drop(found.running.insert(container.id.clone(), run.clone())),
                (model::container::Phase::Starting, None) => {
                    found.running.insert(container.id.clone(), Run { pid: 200, started_ms: 1 });
                }
                _ => {}
            }
        }
    }
    found
}

/// How many more changes there is room for; none means any number.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Option<usize>>>);

impl Disk {
    /// There is room for so many more.
    pub fn hold(&self, changes: usize) {
        *self.0.lock().unwrap() = Some(changes);
    }

    /// Somebody has made room.
    pub fn free(&self) {
        *self.0.lock().unwrap() = None;
    }
}

/// A real journal on that disk.
struct Paper {
    store: Store,
    disk: Disk,
}

impl Journal for Paper {
    fn append(&mut self, change: &Change, revision: u64) -> Result<(), StoreError> {
        match &mut *self.disk.0.lock().unwrap() {
            None => {}
            Some(0) => {
                return Err(StoreError::Io { path: "state.db".into(), source: io::ErrorKind::StorageFull.into() });
            }
            Some(room) => *room -= 1,
        }
        self.store.append(change, revision)
    }
}

/// The world as the test tells it.
struct Told(Facts);

impl World for Told {
    fn facts(&mut self, _: &State, _: &Command) -> Facts {
        self.0.now_ms += 1;
        self.0.nonce += 1;
        self.0.clone()
    }

    fn name_sockets(&mut self, _: &SandboxId) -> io::Result<(UdpSocket, TcpListener)> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn cluster_name_sockets(&mut self, _: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn resolv_conf(&self) -> ResolvConf {
        ResolvConf::default()
    }
}

/// A kernel that stays where it is when its user dies.
pub struct Shelf<K>(Arc<Mutex<K>>);

impl<K> Shelf<K> {
    pub fn new(kernel: K) -> Self {
        Self(Arc::new(Mutex::new(kernel)))
    }

    pub fn lock(&self) -> MutexGuard<'_, K> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for Shelf<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Kernel> Kernel for Shelf<K> {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.lock().observe(settings)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.lock().settings(settings)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        self.lock().apply(plan)
    }
}

/// A kernel whose user dies when it has done so many steps.
struct Mortal {
    kernel: Shelf<sim::Host>,
    left: Arc<Mutex<Option<usize>>>,
}

impl Kernel for Mortal {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.kernel.observe(settings)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.kernel.settings(settings)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let left = &mut *self.left.lock().unwrap();
        let Some(steps) = left else { return self.kernel.apply(plan) };
        let ends: Vec<usize> = plan.steps().map(|step| step.end).collect();
        if *steps >= ends.len() {
            *steps -= ends.len();
            return self.kernel.apply(plan);
        }
        let end = if *steps == 0 { 0 } else { ends[*steps - 1] };
        let report = self.kernel.apply(&Plan { ops: plan.ops[..end].to_vec() });
        assert!(report.fault.is_none(), "{:?}", report.fault);
        // As a kill: nobody hears of it, and nothing more is done.
        resume_unwind(Box::new("killed"))
    }
}
