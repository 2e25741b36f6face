//! One client of the shim: bytes in and out of its socket, without ever blocking.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::Instant,
};

use crate::shim::protocol::{AttachWish, Frames, Message, ProtocolError, Report, Request, Stream, output_frame};

/// A client that has so much output waiting makes its process wait too.
pub const WAITING_MAX_BYTES: usize = 1 << 20;
/// Buffers larger than this are given back when they are empty.
const KEEP_BYTES: usize = 64 * 1024;

/// What a client is to the shim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// It has not said; it may ask for anything.
    New,
    /// It watches, and maybe feeds, the main process.
    Attached(AttachWish),
    /// It owns a process of its own in the container.
    Exec,
}

/// A client.
#[derive(Debug)]
pub struct Connection {
    /// What it is.
    pub role: Role,
    /// It wants to know when the main process ends.
    pub awaits_exit: bool,
    /// Since when it has taken nothing although [`Connection::is_full`].
    pub stalled_since: Option<Instant>,
    stream: UnixStream,
    frames: Frames,
    half_closed: bool,
    waiting: Vec<u8>,
    sent: usize,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum Gone {
    /// The client spoke nonsense.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Connection {
    /// Takes over an accepted socket.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            role: Role::New,
            awaits_exit: false,
            stalled_since: None,
            stream,
            frames: Frames::default(),
            half_closed: false,
            waiting: Vec::new(),
            sent: 0,
        })
    }

    /// The socket, to poll.
    pub fn socket(&self) -> &UnixStream {
        &self.stream
    }

    /// Reads once; whether something arrived. [`Connection::request`] then gives the requests.
    pub fn fill(&mut self) -> Result<bool, Gone> {
        let mut bytes = [0u8; 32 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                self.half_closed = true;
                Ok(false)
            }
            Ok(length) => {
                self.frames.push(&bytes[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The client will send nothing more; it may still listen.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// The next request that has arrived whole.
    pub fn request(&mut self) -> Result<Option<Request>, Gone> {
        Ok(self.frames.take()?)
    }

    /// Queues a report and sends what the socket takes now.
    pub fn report(&mut self, report: &Report) -> Result<(), Gone> {
        report.encode(&mut self.waiting);
        self.flush()
    }

    /// Queues output and sends what the socket takes now.
    pub fn output(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Gone> {
        output_frame(&mut self.waiting, stream, bytes);
        self.flush()
    }

    /// Sends what the socket takes now.
    pub fn flush(&mut self) -> Result<(), Gone> {
        while self.sent < self.waiting.len() {
            match self.stream.write(&self.waiting[self.sent..]) {
                Ok(length) => {
                    self.sent += length;
                    self.stalled_since = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.has_waiting() {
            self.waiting.clear();
            self.sent = 0;
            if self.waiting.capacity() > KEEP_BYTES {
                self.waiting = Vec::new();
            }
        } else if self.sent > WAITING_MAX_BYTES {
            self.waiting.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    /// Whether something is still to be sent.
    pub fn has_waiting(&self) -> bool {
        self.sent < self.waiting.len()
    }

    /// Whether no more output should be produced for it.
    pub fn is_full(&self) -> bool {
        self.waiting.len() - self.sent >= WAITING_MAX_BYTES
    }

    /// Whether it wants this output of the main process.
    pub fn watches(&self, stream: Stream) -> bool {
        match (self.role, stream) {
            (Role::Attached(wish), Stream::Stdout) => wish.stdout,
            (Role::Attached(wish), Stream::Stderr) => wish.stderr,
            _ => false,
        }
    }
}
