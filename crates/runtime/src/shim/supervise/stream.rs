//! Input and output on their way between processes, their log and their clients.

use jiff::Timestamp;

use super::{MAIN, Shim};
use crate::shim::{
    connection::{Connection, Role},
    process::Output,
    protocol::Stream,
};

/// How much of the last output is kept for attachers that ask for it.
const BACKLOG_BYTES: usize = 64 * 1024;
/// How much is read from an output after its process has ended, in case somebody else goes on writing.
const LAST_WORDS_BYTES: usize = 4 << 20;

impl Shim {
    /// Writes input that waits to its process, then takes what its clients had to keep back.
    pub(super) fn feed(&mut self, number: u64) {
        let Some(process) = self.processes.get_mut(&number) else { return };
        process.feed();
        let feeders = self.connections.iter().filter(|(name, connection)| match connection.role {
            Role::Exec => **name == number,
            Role::New | Role::Attached(_) => number == MAIN,
        });
        let feeders: Vec<u64> = feeders.map(|(name, _)| *name).collect();
        feeders.into_iter().for_each(|name| self.serve(name));
    }

    /// Moves output from a process to its log and watchers.
    pub(super) fn pump(&mut self, number: u64, stream: Stream) -> Output {
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

    pub(super) fn has_full_watcher(&self, number: u64) -> bool {
        match number {
            MAIN => self
                .connections
                .values()
                .any(|connection| matches!(connection.role, Role::Attached(_)) && connection.is_full()),
            _ => self.connections.get(&number).is_some_and(Connection::is_full),
        }
    }

    /// Reads what an ended process has left in its outputs, even if others still hold them open.
    pub(super) fn drain(&mut self, number: u64) {
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
}
