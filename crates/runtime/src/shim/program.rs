//! Containers by an external OCI runtime with runc's command line (runc, crun, youki, runsc).

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio as ChildStdio},
};

use crate::shim::{
    launch::{ExecLaunch, Launch, file},
    protocol::Failure,
    refusal,
    stdio::{ConsoleSocket, Stdio, pipes},
};

/// A container that an external program has created.
pub struct Program {
    program: PathBuf,
    dir: PathBuf,
    id: String,
    execs: u64,
}

impl Program {
    /// Creates the container up to the point where its process waits to be started.
    pub fn create(program: PathBuf, dir: PathBuf, launch: &Launch, stdin: bool) -> Result<(Self, i32, Stdio), Failure> {
        let terminal = launch.spec.process().as_ref().is_some_and(|process| process.terminal() == Some(true));
        let created = Self { program, dir, id: launch.id.clone(), execs: 0 };
        let config = serde_json::to_vec(&launch.spec).map_err(io::Error::from);
        config
            .and_then(|config| fs::write(created.dir.join(file::CONFIG), config))
            .map_err(|error| created.failure("create", &error.to_string()))?;
        let bundle = created.dir.clone();
        let (pid, stdio) = created.spawn("create", terminal, stdin, "init.pid", |command| {
            command.arg("--bundle").arg(&bundle);
        })?;
        Ok((created, pid, stdio))
    }

    /// Lets the process run.
    pub fn start(&self) -> Result<(), Failure> {
        let output = output(self.command("start").arg(&self.id));
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(self.failure("start", &String::from_utf8_lossy(&output.stderr))),
            Err(error) => Err(self.failure("start", &error.to_string())),
        }
    }

    /// Runs one more process in the container.
    pub fn exec(&mut self, exec: &ExecLaunch) -> Result<(i32, Stdio), Failure> {
        self.execs += 1;
        let (path, pid_file) = (self.dir.join("process.json"), format!("exec-{}.pid", self.execs));
        let process = serde_json::to_vec(&exec.process).map_err(io::Error::from);
        process
            .and_then(|process| fs::write(&path, process))
            .map_err(|error| self.failure("exec", &error.to_string()))?;
        let terminal = exec.process.terminal() == Some(true);
        self.spawn("exec", terminal, exec.stdin, &pid_file, |command| {
            command.arg("--detach").arg("--process").arg(&path);
        })
    }

    /// Removes what the runtime keeps of the container.
    pub fn delete(&self) {
        let _ = output(self.command("delete").arg("--force").arg(&self.id));
    }

    fn spawn(
        &self,
        verb: &str,
        terminal: bool,
        stdin: bool,
        pid_file: &str,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<(i32, Stdio), Failure> {
        let failed = |error: io::Error| self.failure(verb, &error.to_string());
        let pid_file = self.dir.join(pid_file);
        let runtime_log = self.dir.join("runtime.log");
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.root())
            .arg("--log")
            .arg(&runtime_log)
            .arg(verb)
            .arg("--pid-file")
            .arg(&pid_file);
        arguments(&mut command);
        let (stdio, console) = if terminal {
            let console = ConsoleSocket::bind(&self.dir).map_err(failed)?;
            command.arg("--console-socket").arg(console.path());
            command.stdin(ChildStdio::null()).stdout(ChildStdio::null()).stderr(ChildStdio::null());
            (None, Some(console))
        } else {
            let (stdio, ends) = pipes(stdin).map_err(failed)?;
            command.stdin(ends.stdin).stdout(ends.stdout).stderr(ends.stderr);
            (Some(stdio), None)
        };
        let status = run(command.arg(&self.id)).map_err(failed)?;
        // The pipes' other ends live on in `command`; the container alone must hold them.
        drop(command);
        if !status.success() {
            let text = last_error(&runtime_log)
                .or_else(|| stdio.as_ref().and_then(said))
                .unwrap_or_else(|| status.to_string());
            return Err(self.failure(verb, &text));
        }
        let pid = fs::read_to_string(&pid_file).map_err(failed)?;
        let _ = fs::remove_file(&pid_file);
        let pid = pid.trim().parse().map_err(|_| self.failure(verb, "the runtime wrote no process id"))?;
        let stdio = match (stdio, console) {
            (Some(stdio), _) => stdio,
            (None, Some(console)) => console.receive().map_err(failed)?,
            (None, None) => return Err(self.failure(verb, "no streams")),
        };
        Ok((pid, stdio))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.root()).arg(verb).stdin(ChildStdio::null());
        command
    }

    fn root(&self) -> PathBuf {
        self.dir.join("oci")
    }

    fn failure(&self, verb: &str, text: &str) -> Failure {
        let text = text.trim();
        let code = refusal::exit_code(text);
        Failure { code, message: format!("OCI runtime {verb} failed: {}: {text}: unknown", self.program.display()) }
    }
}

/// Runs it with no signal blocked: the shim blocks all, and the container would inherit that.
fn run(command: &mut Command) -> io::Result<ExitStatus> {
    kernel::process::spawn_unblocked(command)?.wait()
}

/// The same, with what it said.
fn output(command: &mut Command) -> io::Result<Output> {
    kernel::process::spawn_unblocked(command.stdout(ChildStdio::piped()).stderr(ChildStdio::piped()))?
        .wait_with_output()
}

/// The last error in the runtime's log, which is lines of `time="…" level=error msg="…"`.
fn last_error(log: &Path) -> Option<String> {
    let text = fs::read_to_string(log).ok()?;
    let line = text.lines().rev().find(|line| line.contains("level=error"))?;
    let message = line.split_once("msg=").map_or(line, |(_, message)| message);
    Some(serde_json::from_str(message).unwrap_or_else(|_| message.to_owned()))
}

/// What the runtime wrote to standard error before it gave up.
fn said(stdio: &Stdio) -> Option<String> {
    let mut text = [0u8; 4096];
    let (_, fd) = stdio.outputs.last()?;
    let length = rustix::io::read(fd, &mut text).ok().filter(|length| *length > 0)?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}
