//! The shim's one loop: clients, the container's streams and the deaths of its processes, all without blocking.

mod client;
mod exit;
mod poll;
mod request;
mod stream;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::unix::net::UnixListener,
    path::PathBuf,
    time::Duration,
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use poll::Source;

use crate::{
    cgroup::Cgroup,
    log::writer::Writer,
    shim::{
        Oci,
        connection::Connection,
        launch::{LogDriver, State, Stdin, file},
        process::Process,
        protocol::{Failure, Started, Stream},
    },
};

/// An attacher that has taken nothing for so long while its process waited for it is dropped.
const STALL_LIMIT: Duration = Duration::from_secs(10);

/// The number of the main process; an exec has the number of its connection.
const MAIN: u64 = 0;

/// What a shim is made of.
pub struct Parts {
    /// The run directory.
    pub dir: PathBuf,
    /// Where clients connect.
    pub listener: UnixListener,
    /// Where deaths of children are announced.
    pub signals: SignalFd,
    /// As last written.
    pub state: State,
    /// When the main process's input ends.
    pub stdin: Stdin,
    /// Where the main process's output goes.
    pub log: Option<Writer>,
    /// The container; none when it could not be created.
    pub oci: Option<Oci>,
    /// The container's control group.
    pub cgroup: Cgroup,
}

/// The running shim.
pub struct Shim {
    parts: Parts,
    connections: BTreeMap<u64, Connection>,
    processes: BTreeMap<u64, Process>,
    next_connection: u64,
    backlog: VecDeque<(Stream, Vec<u8>)>,
    backlog_bytes: usize,
    started: Option<Started>,
    failure: Option<Failure>,
    /// Somebody has asked for the start.
    wanted: bool,
    /// Only what waits is still sent.
    ending: bool,
}

/// Blocks all signals: the loop reads of children that have ended, and the others are not for the shim. What is cloned from it to become
/// the container's first process misses none either.
pub fn block_signals() -> io::Result<SignalFd> {
    SigSet::all().thread_block()?;
    let read = SigSet::from(Signal::SIGCHLD);
    Ok(SignalFd::with_flags(&read, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Opens the log. A log that cannot be opened is no reason not to run.
pub fn open_log(driver: &LogDriver) -> Option<Writer> {
    let LogDriver::JsonFile { path, max_size_bytes, max_files, attrs } = driver else { return None };
    Writer::open(path, *max_size_bytes, *max_files)
        .map(|writer| writer.with_attrs(attrs.clone()))
        .inspect_err(|error| eprintln!("cannot open the log {}: {error}; output is not kept", path.display()))
        .ok()
}

impl Shim {
    /// A shim that has not looped yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            connections: BTreeMap::new(),
            processes: BTreeMap::new(),
            next_connection: MAIN + 1,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            started: None,
            failure: None,
            wanted: false,
            ending: false,
        }
    }

    /// Serves until the container has ended. `made` is its process, waiting to be started.
    pub fn run(mut self, made: Result<Process, Failure>) -> io::Result<()> {
        self.parts.listener.set_nonblocking(true)?;
        match made {
            Ok(process) => drop(self.processes.insert(MAIN, process)),
            Err(failure) => self.failure = Some(failure),
        }
        while !self.is_over() {
            self.turn()?;
        }
        self.finish()
    }

    fn is_over(&self) -> bool {
        let failed = self.wanted && self.failure.is_some();
        let ended = self.processes.get(&MAIN).is_some_and(|main| main.exit_code.is_some());
        failed || ended || self.is_abandoned()
    }

    /// The daemon connects before it makes the shim: without it, and not started, nobody will ever ask.
    fn is_abandoned(&self) -> bool {
        !self.wanted && self.next_connection > MAIN + 1 && self.connections.is_empty()
    }

    fn turn(&mut self) -> io::Result<()> {
        for source in self.wait(self.stall_timeout())? {
            match source {
                Source::Signals => while let Ok(Some(_)) = self.parts.signals.read_signal() {},
                Source::Listener => self.accept(),
                Source::Client(number, hung_up) => {
                    self.serve(number);
                    if hung_up {
                        self.leave(number);
                    }
                }
                Source::Input(number) => self.feed(number),
                Source::Output(number, stream) => drop(self.pump(number, stream)),
            }
        }
        if self.wanted && self.started.is_none() && self.failure.is_none() {
            self.start();
        }
        self.drop_stalled();
        self.reap();
        Ok(())
    }

    fn save(&self) {
        if let Err(error) = self.parts.state.write(&self.parts.dir) {
            eprintln!("cannot write {}: {error}", file::STATE);
        }
    }
}
