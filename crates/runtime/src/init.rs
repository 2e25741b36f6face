//! The small init of a container that asks for one: it runs the program, passes signals on, and waits for orphans.
//! Runs as process 1 inside the container, where nothing of the daemon exists.

use std::{
    ffi::OsString,
    io,
    process::{Command, ExitCode},
};

use nix::{
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::SignalFd,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

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
    let child = Pid::from_raw(command.spawn()?.id().cast_signed());
    // After the spawn, so that the program does not inherit it. What came in between is found by the first wait.
    SigSet::all().thread_block()?;
    let signals = SignalFd::new(&SigSet::all())?;
    loop {
        if let Some(code) = reap(child) {
            return Ok(code);
        }
        let Some(signal) = signals.read_signal()? else { continue };
        let from_terminal = signal.ssi_code == SI_KERNEL;
        match Signal::try_from(signal.ssi_signo.cast_signed()) {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(_) if from_terminal => {}
            Ok(signal) => drop(kill(child, signal)),
        }
    }
}

/// Waits for all that have ended; the code of `child` if it is among them.
fn reap(child: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = u8::try_from(status & 0xff).ok(),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => code = u8::try_from(128 + signal as i32).ok(),
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => {}
        }
    }
}
