//! What clients ask for.

use std::{os::fd::AsFd, time::Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{MAIN, Shim};
use crate::{
    oci,
    shim::{
        connection::{Gone, Role},
        launch::{ExecLaunch, Stdin, file},
        now_ms,
        process::Process,
        protocol::{Failure, Replay, Report, Request, Started, WindowSize},
    },
    words::sentence,
};

impl Shim {
    pub(super) fn answer(&mut self, number: u64, request: Request) -> Result<(), Gone> {
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

    pub(super) fn start(&mut self) {
        // Whoever connected before the start was asked for must see the first byte.
        self.greet();
        let (Some(oci), Some(main)) = (&mut self.parts.oci, self.processes.get_mut(&MAIN)) else { return };
        if let Err(failure) = oci.start() {
            self.failure = Some(failure);
            return;
        }
        main.began = Instant::now();
        let started = Started { pid: main.pid.unsigned_abs(), started_ms: now_ms() };
        self.started = Some(started);
        self.parts.state.started_ms = Some(started.started_ms);
        self.save();
        self.tell(&Report::Started(started), |connection| connection.awaits_exit);
        // Making a container took most of the program's code; waiting for its end takes little. Without this it is only larger.
        let _ = kernel::memory::release_code();
    }

    fn exec(&mut self, number: u64, mut exec: ExecLaunch) -> Result<(), Gone> {
        let Some(connection) = self.connections.get_mut(&number) else { return Ok(()) };
        connection.role = Role::Exec;
        let rootfs = self.parts.dir.join(file::ROOTFS);
        let entered = oci::process::enter(&mut exec.process, &exec.identity, &rootfs);
        let made = match (&mut self.parts.oci, entered) {
            (Some(oci), Ok(())) if self.started.is_some() => oci.exec(&exec, &mut self.parts.cgroup),
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

    pub(super) fn end_input(&mut self, target: u64) {
        let ends = target != MAIN || self.parts.stdin == Stdin::Once;
        if let Some(process) = self.processes.get_mut(&target).filter(|_| ends) {
            process.end_input();
        }
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
        let pid = process.and_then(|process| Pid::from_raw(process.pid));
        if let Some(Ok(held)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            let _ = kernel::process::signal(held.as_fd(), signal);
        }
    }

    /// Tells a client that has nothing but a question that it has been dealt with.
    fn done(&mut self, number: u64) -> Result<(), Gone> {
        match self.connections.get_mut(&number) {
            Some(connection) if connection.role == Role::New => connection.report(&Report::Done),
            _ => Ok(()),
        }
    }
}
