//! The small init of a container that asks for one: it runs the program, passes signals on, and waits for orphans.
//! Runs as process 1 inside the container, where nothing of the daemon exists.

use std::{
    ffi::OsString,
    io,
    os::fd::AsFd,
    process::{Command, ExitCode},
};

use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::SignalFd,
};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait};

/// The first argument that makes the binary an init.
pub const VERB: &str = "init";

/// `si_code` of a signal that a terminal sent to its whole foreground group: the program has it already.
const SI_KERNEL: i32 = 0x80;

/// Runs `args` (after [`VERB`] and `--`) and ends as it ends.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = args.into_iter().skip_while(|argument| argument == "--");
    let Some(program) = args.next() else {
        eprintln!("{VERB}: the program is missing");
        return ExitCode::from(127);
    };
    match run(Command::new(&program).args(args)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("{VERB}: cannot run {}: {error}", program.display());
            ExitCode::from(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
        }
    }
}

fn run(command: &mut Command) -> io::Result<u8> {
    // First of all: to process 1, what it neither blocks nor handles is never sent (pid_namespaces(7)). Blocked, it waits for the program.
    // The shim has had it blocked since before there was anything to be sent to.
    SigSet::all().thread_block()?;
    let signals = SignalFd::new(&SigSet::all())?;
    let child = Pid::from_child(&kernel::process::spawn_unblocked(command)?);
    let held = pidfd_open(child, PidfdFlags::empty())?;
    loop {
        if let Some(code) = reap(child) {
            return Ok(code);
        }
        let Some(signal) = signals.read_signal()? else { continue };
        let (number, from_terminal) = (signal.ssi_signo.cast_signed(), signal.ssi_code == SI_KERNEL);
        if number != Signal::SIGCHLD as i32 && !from_terminal {
            // It may have ended meanwhile.
            let _ = kernel::process::signal(held.as_fd(), number);
        }
    }
}

/// Waits for all that have ended; the code of `child` if it is among them.
fn reap(child: Pid) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            code = u8::try_from(exit_code(status)).ok();
        }
    }
    code
}

/// The code of a process that has ended, as shells have it: its own, or 128 and the number of the signal that killed it.
pub(crate) fn exit_code(status: WaitStatus) -> i32 {
    let killed = || status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or_else(killed).unwrap_or_default()
}
