//! One process that the shim holds: its streams, and the input that waits to be written to it.

use std::{io, os::fd::OwnedFd, time::Instant};

use rustix::termios::{Winsize, tcsetwinsize};

use crate::shim::{
    protocol::{Stream, WindowSize},
    stdio::Stdio,
};

/// A client's input is not read on while this much waits.
const INPUT_MAX_BYTES: usize = 64 * 1024;

/// A process of the container.
#[derive(Debug)]
pub struct Process {
    /// Process id in the host's namespace.
    pub pid: i32,
    /// Exit code once it has ended.
    pub exit_code: Option<i32>,
    /// When it began to run.
    pub began: Instant,
    stdio: Stdio,
    input: Vec<u8>,
    input_ends: bool,
}

/// What one read of an output gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// So many bytes.
    Bytes(usize),
    /// Nothing for now.
    Nothing,
    /// It is closed; it is not read again.
    End,
}

impl Process {
    /// Takes over a process that was made.
    pub fn new(pid: i32, stdio: Stdio) -> Self {
        Self { pid, exit_code: None, began: Instant::now(), stdio, input: Vec::new(), input_ends: false }
    }

    /// Since when it runs, milliseconds. The host's clock may have been set meanwhile, so it is not asked.
    pub fn ran_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The open outputs.
    pub fn outputs(&self) -> &[(Stream, OwnedFd)] {
        &self.stdio.outputs
    }

    /// The end to which input is written, while some waits.
    pub fn hungry_stdin(&self) -> Option<&OwnedFd> {
        self.stdio.stdin.as_ref().filter(|_| !self.input.is_empty())
    }

    /// Whether more input may be given.
    pub fn takes_input(&self) -> bool {
        self.input.len() < INPUT_MAX_BYTES
    }

    /// Reads the output with this index.
    pub fn read(&mut self, index: usize, bytes: &mut [u8]) -> Output {
        match rustix::io::read(&self.stdio.outputs[index].1, bytes) {
            Ok(0) => self.close_output(index),
            Ok(length) => Output::Bytes(length),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Output::Nothing,
            // EIO is how a terminal says that nobody has it open any more.
            Err(_) => self.close_output(index),
        }
    }

    fn close_output(&mut self, index: usize) -> Output {
        self.stdio.outputs.remove(index);
        Output::End
    }

    /// Queues input.
    pub fn write_input(&mut self, bytes: &[u8]) {
        if self.stdio.stdin.is_some() && !self.input_ends {
            self.input.extend_from_slice(bytes);
            self.feed();
        }
    }

    /// Closes the input after what waits. A terminal stays open: its reader would see a hang-up.
    pub fn end_input(&mut self) {
        if !self.stdio.terminal {
            self.input_ends = true;
            self.feed();
        }
    }

    /// Writes what the process takes now.
    pub fn feed(&mut self) {
        while let Some(stdin) = self.hungry_stdin() {
            match rustix::io::write(stdin, &self.input) {
                Ok(length) => drop(self.input.drain(..length)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                // It does not read any more.
                Err(_) => {
                    self.input = Vec::new();
                    self.stdio.stdin = None;
                }
            }
        }
        if self.input_ends {
            self.stdio.stdin = None;
        }
    }

    /// Gives the terminal a new size; without one nothing happens.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        match &self.stdio.stdin {
            Some(master) if self.stdio.terminal => Ok(tcsetwinsize(master, size)?),
            _ => Ok(()),
        }
    }
}
