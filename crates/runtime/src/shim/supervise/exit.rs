//! The end of processes, and that of the container, of which nothing is left.

use std::{
    io,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, kill_process, wait, waitpid},
};

use super::{MAIN, STALL_LIMIT, Shim, poll::Source};
use crate::{
    init,
    shim::{
        connection::Role,
        launch::file,
        mount, now_ms,
        process::Process,
        protocol::{Exit, Report},
    },
};

impl Shim {
    /// Waits for every child that has ended; orphans of the container are ours too.
    pub(super) fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.ended(pid.as_raw_nonzero().get(), init::exit_code(status)),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn ended(&mut self, pid: i32, code: i32) {
        let Some((number, process)) = self.processes.iter_mut().find(|(_, process)| process.pid == pid) else { return };
        process.exit_code = Some(code);
        let ran_ms = process.ran_ms();
        let number = *number;
        if number != MAIN {
            self.drain(number);
            self.processes.remove(&number);
            let exit = Exit { code, oom_killed: false, finished_ms: now_ms(), ran_ms, error: None };
            if let Some(connection) = self.connections.get_mut(&number)
                && connection.report(&Report::Exited(exit)).is_err()
            {
                self.leave(number);
            }
        }
    }

    /// The container has ended, could not start, or was abandoned: leave nothing behind, and say so.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let abandoned = self.is_abandoned();
        // Whoever came before the end, and was not heard yet, sees it too.
        self.greet();
        if let Some(main) = self.processes.get(&MAIN).filter(|main| main.exit_code.is_none())
            && let Some(pid) = Pid::from_raw(main.pid)
        {
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
        self.drain(MAIN);
        let oom_killed = self.parts.cgroup.oom_kills() > 0;
        self.clean();
        if let Some(log) = &mut self.parts.log {
            let _ = log.finish(Timestamp::now());
        }
        let main = self.processes.get(&MAIN);
        let main_code = main.and_then(|main| main.exit_code);
        let ran_ms = self.started.and(main).map_or(0, Process::ran_ms);
        let exit = |code, error| Exit { code, oom_killed, finished_ms: now_ms(), ran_ms, error };
        let report = match (self.failure.take(), main_code) {
            (Some(failure), _) => {
                self.parts.state.exit = Some(exit(failure.code, Some(failure.message.clone())));
                Report::Failed(failure)
            }
            (None, code) => {
                let error = abandoned.then(|| "the daemon ended before it had started the container".to_owned());
                let exit = exit(code.unwrap_or(128), error);
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
            let waited = Pid::from_raw(pid).and_then(|pid| waitpid(Some(pid), WaitOptions::empty()).ok().flatten());
            if let Some((_, status)) = waited {
                self.ended(pid, init::exit_code(status));
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
}
