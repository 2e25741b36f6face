//! Bodies for work that blocks: a request's body as something to read from, an answer's as something to write to.

use std::{
    io::{self, Read, Write},
    pin::pin,
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

/// How many pieces wait for the other side.
const DEPTH: usize = 8;
/// Bytes that are gathered before they are sent.
const PIECE: usize = 64 << 10;

/// Reads what comes from a stream; must be used on a thread that may block. A stream that breaks is an error, never an end.
pub(crate) fn reader(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> impl Read + Send + 'static {
    let (sender, receiver) = mpsc::channel(DEPTH);
    tokio::spawn(async move {
        let mut pieces = pin!(pieces);
        while let Some(piece) = pieces.next().await {
            // The reader has left: what it did not need is not read.
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
    Reader { receiver, piece: Bytes::new() }
}

struct Reader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// Sends what is written, the last of it when dropped; must be used on a thread that may block.
pub(crate) struct Writer {
    sender: mpsc::Sender<io::Result<Bytes>>,
    gathered: Vec<u8>,
}

impl Writer {
    /// Sends there.
    pub(crate) fn new(sender: mpsc::Sender<io::Result<Bytes>>) -> Self {
        Self { sender, gathered: Vec::with_capacity(PIECE) }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.gathered, Vec::with_capacity(PIECE)));
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has left"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Fails only if the client has left.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn streams_are_read() {
        let pieces = vec![Ok(Bytes::from("ab")), Ok(Bytes::new()), Ok(Bytes::from("cde"))];
        let mut reading = reader(stream::iter(pieces));
        let text = tokio::task::spawn_blocking(move || io::read_to_string(&mut reading)).await.unwrap();
        assert_eq!(text.unwrap(), "abcde");
        let mut broken = reader(stream::iter(vec![Ok(Bytes::from("ab")), Err(io::Error::other("cut"))]));
        let text = tokio::task::spawn_blocking(move || io::read_to_string(&mut broken)).await.unwrap();
        assert_eq!(text.unwrap_err().to_string(), "cut");
    }

    #[tokio::test]
    async fn writes_are_sent() {
        let (sender, mut receiver) = mpsc::channel(DEPTH);
        let writing = tokio::task::spawn_blocking(move || {
            let mut writer = Writer::new(sender);
            writer.write_all(b"ab")?;
            writer.write_all(b"c")
        });
        assert_eq!(receiver.recv().await.unwrap().unwrap(), "abc");
        writing.await.unwrap().unwrap();
        let (sender, receiver) = mpsc::channel(DEPTH);
        drop(receiver);
        let error = tokio::task::spawn_blocking(move || {
            let mut writer = Writer::new(sender);
            writer.write_all(b"ab")?;
            writer.flush()
        });
        assert_eq!(error.await.unwrap().unwrap_err().to_string(), "the client has left");
    }
}
