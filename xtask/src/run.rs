//! Running other programs, shown before they run.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal},
    process::{Command, Stdio},
};

/// Why a step failed, in words.
pub type Result<T> = std::result::Result<T, String>;

/// A command made of a program and its arguments.
pub fn command<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Shows the command, runs it, and fails when it does.
pub fn step(command: &mut Command) -> Result<()> {
    let (bold, plain) = if io::stderr().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    eprintln!("{bold}$ {}{plain}", words(command));
    let status = command.stdin(Stdio::null()).status().map_err(|e| format!("cannot run {}: {e}", words(command)))?;
    if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", words(command))) }
}

/// Whether the command succeeds, quietly.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What the command prints.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot run {}: {e}", words(command)))?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", words(command), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
