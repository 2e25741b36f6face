//! A conversation with a shim: reports come in, requests go out.

use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    shim::protocol::{Frames, Message, ProtocolError, Report, Request, Stream, WindowSize},
    socket,
};

/// The two directions of an attached process.
#[derive(Debug)]
pub struct Attached {
    /// What the process writes.
    pub output: Output,
    /// What it reads. Dropping it, and `output`, detaches.
    pub input: Input,
}

/// What comes from a process.
#[derive(Debug)]
pub struct Output {
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The shim itself.
    Shim { reader: OwnedReadHalf, frames: Frames },
    /// A task that follows the shim whether or not it is read.
    Relay(mpsc::Receiver<(Stream, Vec<u8>)>),
}

/// What goes to a process.
#[derive(Debug)]
pub struct Input {
    writer: OwnedWriteHalf,
}

/// The conversation broke.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The socket failed.
    #[error("the connection to the shim failed")]
    Io(#[from] io::Error),
    /// See the message.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

pub(super) fn connect(path: &Path) -> io::Result<(Output, Input)> {
    let stream = socket::connect(path)?;
    stream.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(stream)?.into_split();
    Ok((Output { source: Source::Shim { reader, frames: Frames::default() } }, Input { writer }))
}

impl Output {
    pub(super) fn relayed(receiver: mpsc::Receiver<(Stream, Vec<u8>)>) -> Self {
        Self { source: Source::Relay(receiver) }
    }

    /// The next output of the process; none when it has ended. May be cancelled without loss.
    pub async fn read(&mut self) -> Result<Option<(Stream, Vec<u8>)>, StreamError> {
        loop {
            match self.next().await? {
                Some(Report::Output(stream, bytes)) => return Ok(Some((stream, bytes))),
                Some(Report::Started(_) | Report::Done) => {}
                Some(Report::Exited(_) | Report::Failed(_)) | None => return Ok(None),
            }
        }
    }

    /// The next report; none when the connection is closed. May be cancelled without loss.
    pub(super) async fn next(&mut self) -> Result<Option<Report>, StreamError> {
        let (reader, frames) = match &mut self.source {
            Source::Shim { reader, frames } => (reader, frames),
            Source::Relay(receiver) => {
                return Ok(receiver.recv().await.map(|(stream, bytes)| Report::Output(stream, bytes)));
            }
        };
        let mut bytes = [0u8; 16 * 1024];
        loop {
            if let Some(report) = frames.take()? {
                return Ok(Some(report));
            }
            match reader.read(&mut bytes).await? {
                0 => return Ok(None),
                length => frames.push(&bytes[..length]),
            }
        }
    }
}

impl Input {
    /// Writes to the process's standard input; waits while it does not read.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(&Request::Stdin(bytes.to_vec())).await
    }

    /// Says that no more input follows.
    pub async fn close(&mut self) -> io::Result<()> {
        self.send(&Request::CloseStdin).await
    }

    /// Gives the process's terminal a new size.
    pub async fn resize(&mut self, size: WindowSize) -> io::Result<()> {
        self.send(&Request::Resize(size)).await
    }

    /// Sends a signal to the process by its number.
    pub async fn signal(&mut self, signal: i32) -> io::Result<()> {
        self.send(&Request::Signal(signal)).await
    }

    pub(super) async fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut frame = Vec::new();
        request.encode(&mut frame);
        self.writer.write_all(&frame).await
    }
}
