//! The shim's one loop: clients, the container's streams and the deaths of its processes, all without blocking.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::{fd::AsFd, unix::net::UnixListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    cgroup::Cgroup,
    log::writer::Writer,
    oci,
    shim::{
        Oci,
        connection::{Connection, Gone, Role},
        exit_of,
        launch::{ExecLaunch, LogDriver, State, Stdin, file},
        mount, now_ms,
        process::{Output, Process},
        protocol::{Failure, Replay, Report, Request, Started, Stream, WindowSize},
        sentence,
    },
};

/// How much of the last output is kept for attachers that ask for it.
const BACKLOG_BYTES: usize = 64 * 1024;
/// An attacher that has taken nothing for so long while its process waited for it is dropped.
const STALL_LIMIT: Duration = Duration::from_secs(10);
/// How much is read from an output after its process has ended, in case somebody else goes on writing.
const LAST_WORDS_BYTES: usize = 4 << 20;

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

/// What a polled descriptor is.
#[derive(Clone, Copy)]
enum Source {
    Signals,
    Listener,
    /// A client, and whether it has hung up.
    Client(u64, bool),
    Input(u64),
    Output(u64, Stream),
}

/// Blocks the signals that the loop reads or that are meant for the daemon only.
pub fn block_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        set.add(signal);
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// Opens the log. A log that cannot be opened is no reason not to run.
pub fn open_log(driver: &LogDriver) -> Option<Writer> {
    let LogDriver::JsonFile { path, max_size_bytes, max_files } = driver else { return None };
    Writer::open(path, *max_size_bytes, *max_files)
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

    /// Waits until something can be done, and says what.
    fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Source>> {
        let mut polled = vec![
            (Source::Signals, self.parts.signals.as_fd(), PollFlags::IN),
            (Source::Listener, self.parts.listener.as_fd(), PollFlags::IN),
        ];
        for (number, connection) in &self.connections {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !self.ending && self.takes_input(*number));
            flags.set(PollFlags::OUT, connection.has_waiting());
            polled.push((Source::Client(*number, false), connection.socket().as_fd(), flags));
        }
        for (number, process) in &self.processes {
            polled.extend(process.hungry_stdin().map(|stdin| (Source::Input(*number), stdin.as_fd(), PollFlags::OUT)));
            if !self.has_full_watcher(*number) {
                polled.extend(
                    process
                        .outputs()
                        .iter()
                        .map(|(stream, fd)| (Source::Output(*number, *stream), fd.as_fd(), PollFlags::IN)),
                );
            }
        }
        let mut fds: Vec<PollFd<'_>> =
            polled.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = fds.iter().zip(&polled).filter(|(fd, _)| !fd.revents().is_empty());
        let hung_up = |fd: &PollFd<'_>| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR);
        Ok(ready
            .map(
                |(fd, (source, ..))| {
                    if let Source::Client(number, _) = source { Source::Client(*number, hung_up(fd)) } else { *source }
                },
            )
            .collect())
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.parts.listener.accept() {
            if let Ok(connection) = Connection::new(stream) {
                self.connections.insert(self.next_connection, connection);
                self.next_connection += 1;
            }
        }
    }

    /// Reads from a client, does what it asks, and sends what it has waiting.
    fn serve(&mut self, number: u64) {
        if let Err(gone) = self.try_serve(number) {
            eprintln!("a client is dropped: {gone}");
            self.leave(number);
        }
    }

    fn try_serve(&mut self, number: u64) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.flush()?;
        let was_open = !connection.is_half_closed();
        while self.takes_input(number)
            && let Some(connection) = self.connections.get_mut(&number)
        {
            match connection.request()? {
                Some(request) => self.answer(number, request)?,
                None if connection.fill()? => {}
                None => break,
            }
        }
        if was_open && self.connections.get(&number).is_some_and(Connection::is_half_closed) {
            self.end_input_of(number);
        }
        Ok(())
    }

    /// Whether what a client sends can be taken now.
    fn takes_input(&self, number: u64) -> bool {
        let Some(connection) = self.connections.get(&number) else { return false };
        let fed = match connection.role {
            Role::Exec => self.processes.get(&number),
            Role::Attached(wish) if wish.stdin => self.processes.get(&MAIN),
            // Whoever feeds nobody is heard always: it may bring the very start that a full process waits for.
            Role::Attached(_) | Role::New => None,
        };
        !connection.is_half_closed() && fed.is_none_or(Process::takes_input)
    }

    /// Writes input that waits to its process, then takes what its clients had to keep back.
    fn feed(&mut self, number: u64) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        process.feed();
        let feeders = self.connections.iter().filter(|(name, connection)| match connection.role {
            Role::Exec => **name == number,
            Role::New | Role::Attached(_) => number == MAIN,
        });
        let feeders: Vec<u64> = feeders.map(|(name, _)| *name).collect();
        feeders.into_iter().for_each(|name| self.serve(name));
    }

    fn answer(&mut self, number: u64, request: Request) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        let target = if connection.role == Role::Exec { number } else { MAIN };
        match request {
            Request::Start => {
                self.wanted = true;
                connection.awaits_exit = true;
            }
            Request::Wait => {
                connection.awaits_exit = true;
                if let Some(started) = self.started {
                    connection.report(&Report::Started(started))?;
                }
            }
            Request::Attach(wish) => {
                connection.role = Role::Attached(wish);
                if wish.replay == Replay::Backlog {
                    for (stream, bytes) in &self.backlog {
                        if connection.watches(*stream) {
                            connection.output(*stream, bytes)?;
                        }
                    }
                }
            }
            Request::Exec(exec) => self.exec(number, *exec)?,
            Request::Stdin(bytes) => {
                if let Some(process) = self.processes.get_mut(&target) {
                    process.write_input(&bytes);
                }
            }
            Request::CloseStdin => self.end_input(target),
            Request::Resize(size) => {
                self.resize(target, size);
                return self.done(number);
            }
            Request::ResizeExec(pid, size) => {
                let found = self.processes.iter().find(|(_, process)| process.pid.unsigned_abs() == pid);
                if let Some(target) = found.map(|(number, _)| *number) {
                    self.resize(target, size);
                }
                return self.done(number);
            }
            Request::Signal(signal) => {
                self.signal(target, signal);
                return self.done(number);
            }
        }
        Ok(())
    }

    fn resize(&self, target: u64, size: WindowSize) {
        if let Some(process) = self.processes.get(&target) {
            // Only a terminal that has just gone refuses.
            let _ = process.resize(size);
        }
    }

    fn signal(&self, target: u64, signal: i32) {
        // A process that has ended but was not waited for keeps its id, so this cannot hit another.
        let process = self.processes.get(&target).filter(|process| process.exit_code.is_none());
        if let Some((process, signal)) = process.zip(Signal::try_from(signal).ok()) {
            let _ = kill(Pid::from_raw(process.pid), signal);
        }
    }

    /// Tells a client that has nothing but a question that it has been dealt with.
    fn done(&mut self, number: u64) -> Result<(), Gone> {
        match self.connections.get_mut(&number) {
            Some(connection) if connection.role == Role::New => connection.report(&Report::Done),
            _ => Ok(()),
        }
    }

    fn start(&mut self) {
        // Whoever connected before the start was asked for must see the first byte.
        self.accept();
        let newcomers: Vec<u64> =
            self.connections.iter().filter(|(_, c)| c.role == Role::New).map(|(number, _)| *number).collect();
        newcomers.into_iter().for_each(|number| self.serve(number));
        let (Some(oci), Some(main)) = (&mut self.parts.oci, self.processes.get(&MAIN)) else { return };
        if let Err(failure) = oci.start() {
            self.failure = Some(failure);
            return;
        }
        let started = Started { pid: main.pid.unsigned_abs(), started_ms: now_ms() };
        self.started = Some(started);
        self.parts.state.started_ms = Some(started.started_ms);
        self.save();
        self.tell(&Report::Started(started), |connection| connection.awaits_exit);
    }

    fn exec(&mut self, number: u64, mut exec: ExecLaunch) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.role = Role::Exec;
        let rootfs = self.parts.dir.join(file::ROOTFS);
        let entered = oci::process::enter(&mut exec.process, &exec.identity, &rootfs);
        let made = match (&mut self.parts.oci, entered) {
            (Some(oci), Ok(())) if self.started.is_some() => oci.exec(&exec),
            (_, Err(error)) => Err(Failure { code: 126, message: sentence(&error) }),
            _ => Err(Failure { code: 128, message: "the container does not run".to_owned() }),
        };
        match made {
            Ok((pid, stdio)) => {
                self.processes.insert(number, Process::new(pid, stdio));
                connection.report(&Report::Started(Started { pid: pid.unsigned_abs(), started_ms: now_ms() }))
            }
            Err(failure) => connection.report(&Report::Failed(failure)),
        }
    }

    fn end_input(&mut self, target: u64) {
        let ends = target != MAIN || self.parts.stdin == Stdin::Once;
        if let Some(process) = self.processes.get_mut(&target).filter(|_| ends) {
            process.end_input();
        }
    }

    /// A client has gone.
    fn leave(&mut self, number: u64) {
        self.end_input_of(number);
        self.connections.remove(&number);
    }

    /// A client will send no more input.
    fn end_input_of(&mut self, number: u64) {
        match self.connections.get(&number).map(|connection| connection.role) {
            Some(Role::Attached(wish)) if wish.stdin => self.end_input(MAIN),
            Some(Role::Exec) => self.end_input(number),
            _ => {}
        }
    }

    /// Moves output from a process to its log and watchers.
    fn pump(&mut self, number: u64, stream: Stream) -> Output {
        let mut bytes = [0u8; 32 * 1024];
        let Some(process) = self.processes.get_mut(&number) else { return Output::End };
        let Some(index) = process.outputs().iter().position(|(name, _)| *name == stream) else { return Output::End };
        let output = process.read(index, &mut bytes);
        if let Output::Bytes(length) = output {
            self.deliver(number, stream, &bytes[..length]);
        }
        output
    }

    fn deliver(&mut self, number: u64, stream: Stream, bytes: &[u8]) {
        if number == MAIN {
            self.keep(stream, bytes);
        }
        let mut gone = Vec::new();
        for (name, connection) in &mut self.connections {
            let watches = if number == MAIN { connection.watches(stream) } else { *name == number };
            if watches && connection.output(stream, bytes).is_err() {
                gone.push(*name);
            }
        }
        gone.into_iter().for_each(|name| self.leave(name));
    }

    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.parts.log
            && let Err(error) = log.write(stream, bytes, Timestamp::now())
        {
            eprintln!("a line of the log is lost: {error}");
        }
        self.backlog_bytes += bytes.len();
        self.backlog.push_back((stream, bytes.to_vec()));
        while self.backlog_bytes > BACKLOG_BYTES {
            self.backlog_bytes -= self.backlog.pop_front().map_or(self.backlog_bytes, |(_, bytes)| bytes.len());
        }
    }

    fn has_full_watcher(&self, number: u64) -> bool {
        match number {
            MAIN => self
                .connections
                .values()
                .any(|connection| matches!(connection.role, Role::Attached(_)) && connection.is_full()),
            _ => self.connections.get(&number).is_some_and(Connection::is_full),
        }
    }

    fn drop_stalled(&mut self) {
        let now = Instant::now();
        let mut stalled = Vec::new();
        for (number, connection) in self.connections.iter_mut().filter(|(_, connection)| connection.is_full()) {
            let since = *connection.stalled_since.get_or_insert(now);
            if now - since >= STALL_LIMIT {
                stalled.push(*number);
            }
        }
        for number in stalled {
            eprintln!("a client is dropped: it has taken nothing for {} s", STALL_LIMIT.as_secs());
            self.leave(number);
        }
    }

    fn stall_timeout(&self) -> Option<Duration> {
        let since = self.connections.values().filter_map(|connection| connection.stalled_since).min()?;
        Some((since + STALL_LIMIT).saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    /// Waits for every child that has ended; orphans of the container are ours too.
    fn reap(&mut self) {
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Err(Errno::EINTR) => continue,
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            self.ended(pid.as_raw(), code);
        }
    }

    fn ended(&mut self, pid: i32, code: i32) {
        let Some((number, process)) = self.processes.iter_mut().find(|(_, process)| process.pid == pid) else { return };
        process.exit_code = Some(code);
        let number = *number;
        if number != MAIN {
            self.drain(number);
            self.processes.remove(&number);
            let exit = exit_of(code, false, None);
            if let Some(connection) = self.connections.get_mut(&number)
                && connection.report(&Report::Exited(exit)).is_err()
            {
                self.leave(number);
            }
        }
    }

    /// Reads what an ended process has left in its outputs, even if others still hold them open.
    fn drain(&mut self, number: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut left = LAST_WORDS_BYTES;
            while let Output::Bytes(length) = self.pump(number, stream) {
                left = left.saturating_sub(length);
                if left == 0 {
                    break;
                }
            }
        }
    }

    /// The container has ended, could not start, or was abandoned: leave nothing behind, and say so.
    fn finish(mut self) -> io::Result<()> {
        let abandoned = self.is_abandoned();
        if let Some(main) = self.processes.get(&MAIN).filter(|main| main.exit_code.is_none()) {
            let pid = Pid::from_raw(main.pid);
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
        self.drain(MAIN);
        let oom_killed = self.parts.cgroup.oom_kills() > 0;
        self.clean();
        if let Some(log) = &mut self.parts.log {
            let _ = log.finish(Timestamp::now());
        }
        let main_code = self.processes.get(&MAIN).and_then(|main| main.exit_code);
        let report = match (self.failure.take(), main_code) {
            (Some(failure), _) => {
                self.parts.state.exit = Some(exit_of(failure.code, oom_killed, Some(failure.message.clone())));
                Report::Failed(failure)
            }
            (None, code) => {
                let error = abandoned.then(|| "the daemon ended before it had started the container".to_owned());
                let exit = exit_of(code.unwrap_or(128), oom_killed, error);
                self.parts.state.exit = Some(exit.clone());
                Report::Exited(exit)
            }
        };
        self.save();
        self.tell(&report, |connection| connection.role != Role::Exec);
        self.flush_all()
    }

    fn clean(&mut self) {
        if let Err(error) = self.parts.cgroup.kill() {
            eprintln!("processes of the container resist SIGKILL: {error}");
        }
        let execs: Vec<i32> =
            self.processes.iter().filter(|(number, _)| **number != MAIN).map(|(_, process)| process.pid).collect();
        for pid in execs {
            // The group is dead, so this does not wait.
            if let Ok(status) = waitpid(Pid::from_raw(pid), None) {
                self.ended(
                    pid,
                    if let WaitStatus::Exited(_, code) = status { code } else { 128 + Signal::SIGKILL as i32 },
                );
            }
        }
        if let Some(oci) = &self.parts.oci {
            oci.delete();
        }
        mount::unmount_root(&self.parts.dir.join(file::ROOTFS));
        if let Err(error) = self.parts.cgroup.remove() {
            eprintln!("cannot remove the control group: {error}");
        }
    }

    /// Sends what clients still have to get, as long as they take it.
    fn flush_all(&mut self) -> io::Result<()> {
        self.ending = true;
        self.processes.clear();
        let mut last_progress = Instant::now();
        while last_progress.elapsed() < STALL_LIMIT {
            self.connections.retain(|_, connection| connection.has_waiting());
            if self.connections.is_empty() {
                break;
            }
            let ready = self.wait(Some(Duration::from_secs(1)))?;
            for source in ready {
                if let Source::Client(number, hung_up) = source
                    && let Some(connection) = self.connections.get_mut(&number)
                {
                    last_progress = Instant::now();
                    if connection.flush().is_err() || hung_up {
                        self.connections.remove(&number);
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self, report: &Report, to: impl Fn(&Connection) -> bool) {
        let mut gone = Vec::new();
        for (number, connection) in self.connections.iter_mut().filter(|(_, connection)| to(connection)) {
            if connection.report(report).is_err() {
                gone.push(*number);
            }
        }
        gone.into_iter().for_each(|number| self.leave(number));
    }

    fn save(&self) {
        if let Err(error) = self.parts.state.write(&self.parts.dir) {
            eprintln!("cannot write {}: {error}", file::STATE);
        }
    }
}
