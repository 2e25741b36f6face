//! Somebody at a terminal who types docker commands.

use std::{
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    process::{Child, Stdio},
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::{Host, eventually};

/// A terminal on a host, with a command in it.
pub struct Terminal {
    keys: File,
    command: Child,
    shown: String,
}

impl Terminal {
    /// Runs a docker command at a terminal of 30 lines with 90 characters.
    ///
    /// # Panics
    /// When the machine gives no terminal.
    pub fn docker(host: &Host, words: &str) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&keys).and_then(|()| unlockpt(&keys)).expect("the terminal is ours");
        let name = ptsname(&keys, Vec::new()).expect("it has a name").into_bytes();
        let screen = File::options().read(true).write(true).open(std::ffi::OsString::from_vec(name));
        let screen: OwnedFd = screen.expect("its other end").into();
        let end = || Stdio::from(screen.try_clone().expect("a second handle"));
        fcntl_setfl(&keys, fcntl_getfl(&keys).expect("its flags") | OFlags::NONBLOCK).expect("reads that do not wait");
        resize(&keys, 30, 90);
        let mut command = host.inside();
        command.args(["setsid", "--ctty", "--wait", "sh", "-c", &format!("exec docker {words}")]);
        let command = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("nsenter runs");
        Self { keys: keys.into(), command, shown: String::new() }
    }

    /// Waits until the text is shown; what was, up to its end, is told and forgotten.
    ///
    /// # Panics
    /// When it is not.
    pub fn shows(&mut self, text: &str) -> String {
        eventually(&format!("the terminal shows {text:?}"), || {
            self.read();
            let at = self.shown.find(text)?;
            Some(self.shown.drain(..at + text.len()).collect())
        })
    }

    /// Types; `\x03` is Ctrl-C.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Makes the window another size.
    pub fn resize(&self, rows: u16, columns: u16) {
        resize(&self.keys, rows, columns);
    }

    /// The exit code of the command, when it has ended, and what was shown last.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let status = eventually("the command at the terminal ends", || {
            self.read();
            self.command.try_wait().expect("it can be waited for")
        });
        self.read();
        (status.code(), self.shown)
    }

    fn read(&mut self) {
        let mut bytes = [0; 4096];
        // What a closed terminal answers is as good as nothing.
        while let Ok(length @ 1..) = self.keys.read(&mut bytes) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    }
}

fn resize(terminal: impl std::os::fd::AsFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}
