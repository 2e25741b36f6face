//! A command in the background, looked at while it runs.

use std::{
    fs,
    process::{Child, Output, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::{Host, Said, eventually, host::child_of};

/// A command in the background; it is killed with this.
pub struct Job {
    what: String,
    command: Child,
    /// Both of its outputs.
    said: NamedTempFile,
}

impl Host {
    /// Begins one command on the host, in the words of a shell.
    ///
    /// # Panics
    /// When there is no room for what it says.
    pub fn begin(&self, command: &str) -> Job {
        let said = NamedTempFile::new_in(self.path()).expect("a file");
        let output = || Stdio::from(said.as_file().try_clone().expect("a second handle"));
        let mut begun = self.inside();
        begun.args(["sh", "-c", &format!("exec {command}")]);
        let begun = begun.stdin(Stdio::null()).stdout(output()).stderr(output()).spawn().expect("nsenter runs");
        Job { what: command.to_owned(), command: begun, said }
    }
}

impl Job {
    /// What it has said so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.said.path()).expect("what it said")).into_owned()
    }

    /// Waits until it has said this.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn says(&self, text: &str) {
        eventually(&format!("{} says {text:?}", self.what), || self.said().contains(text).then_some(()));
    }

    /// Sends it a signal. Only what has said something is sure to be there.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = child_of(self.command.id()).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("it runs"), signal).expect("it is ours");
    }

    /// Waits for its end; both outputs are told as one.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn ends(mut self) -> Said {
        let status = eventually(&format!("{} ends", self.what), || self.command.try_wait().expect("it is ours"));
        let stdout = self.said().into_bytes();
        Said::from_output(self.what.clone(), &Output { status, stdout, stderr: Vec::new() })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        if let Some(pid) = child_of(self.command.id()).and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.command.kill();
        let _ = self.command.wait();
    }
}
