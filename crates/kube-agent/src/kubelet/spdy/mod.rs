//! SPDY/3.1 (the draft of 2013), as much of it as Kubernetes' clients speak: streams that a client opens, data both ways, and their
//! ends. There is no flow control, as their library has none.

pub mod command;
mod header;

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use header::{Compressor, Decompressor};

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
/// The flag of the last frame of a stream in one direction.
const FIN: u8 = 1;
/// How many frames may wait for a slow reader, and how many streams for somebody to take them.
const WAITING: usize = 64;
/// How many streams a connection has at a time.
const STREAMS_MAX: usize = 1000;
/// In what pieces data is handed on, bytes.
const PIECE: usize = 64 << 10;
/// The longest control frame, bytes: header blocks of Kubernetes are far shorter.
const CONTROL_MAX: usize = 1 << 20;

/// A connection whose client opens streams.
pub struct Connection {
    /// Streams as they are opened; it ends when the client leaves.
    pub opened: mpsc::Receiver<Opened>,
    /// Where frames are written.
    pub writer: Writer,
}

/// A stream that the client has opened.
pub struct Opened {
    /// Its number.
    pub id: u32,
    /// What it was opened with; names in lower case.
    pub headers: BTreeMap<String, String>,
    /// What comes on it; it ends with the client's last frame.
    pub data: mpsc::Receiver<Bytes>,
}

/// Writes frames; clones share the connection, which ends with the last of them.
#[derive(Clone)]
pub struct Writer(mpsc::Sender<Frame>);

enum Frame {
    Reply(u32),
    Data(u32, Bytes, u8),
    Raw(Bytes),
}

/// Speaks SPDY over a connection.
pub fn connect(connection: impl AsyncRead + AsyncWrite + Send + 'static) -> Connection {
    let (read, write) = tokio::io::split(connection);
    let (open, opened) = mpsc::channel(WAITING);
    let (frames, queue) = mpsc::channel(WAITING);
    let replies = frames.clone().downgrade();
    tokio::spawn(async move {
        if let Err(error) = read_frames(read, open, replies).await {
            tracing::debug!(%error, "a SPDY connection ended");
        }
    });
    tokio::spawn(async move {
        // A client that has left needs nothing.
        let _ = write_frames(write, queue).await;
    });
    Connection { opened, writer: Writer(frames) }
}

impl Writer {
    /// Sends data on a stream; waits for a slow client.
    pub async fn data(&self, stream: u32, bytes: Bytes) -> io::Result<()> {
        self.0.send(Frame::Data(stream, bytes, 0)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Says that nothing more comes on a stream.
    pub async fn finish(&self, stream: u32) {
        let _ = self.0.send(Frame::Data(stream, Bytes::new(), FIN)).await;
    }
}

async fn read_frames(
    mut from: impl AsyncRead + Unpin,
    open: mpsc::Sender<Opened>,
    replies: mpsc::WeakSender<Frame>,
) -> io::Result<()> {
    let mut decompressor = Decompressor::default();
    let mut streams: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
    let reply = async |frame: Frame| {
        if let Some(sender) = replies.upgrade() {
            // The connection ends.
            let _ = sender.send(frame).await;
        }
    };
    loop {
        let mut head = [0; 8];
        if from.read_exact(&mut head).await.is_err() {
            return Ok(());
        }
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let (flags, length) = (head[4], u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize);
        let is_control = first >> 31 == 1;
        if !is_control {
            data(&mut from, length, streams.get(&first)).await?;
            if flags & FIN != 0 {
                streams.remove(&first);
            }
            continue;
        }
        if length > CONTROL_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a control frame is too long"));
        }
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        match first as u16 {
            SYN_STREAM if length >= 10 => {
                let id = number(&payload, 0);
                let headers = decompressor.read(&payload[10..])?;
                let (sender, data) = mpsc::channel(WAITING);
                if flags & FIN == 0 {
                    // Those that nobody reads any more need no place.
                    streams.retain(|_, stream| !stream.is_closed());
                    if streams.len() >= STREAMS_MAX {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many streams"));
                    }
                    streams.insert(id, sender);
                }
                reply(Frame::Reply(id)).await;
                if open.send(Opened { id, headers, data }).await.is_err() {
                    return Ok(());
                }
            }
            RST_STREAM if length >= 4 => drop(streams.remove(&number(&payload, 0))),
            PING => reply(Frame::Raw(control(PING, &payload))).await,
            GOAWAY => {}
            _ => {}
        }
    }
}

/// Reads the payload of a data frame, in pieces, for whoever reads the stream.
async fn data(
    from: &mut (impl AsyncRead + Unpin),
    mut left: usize,
    to: Option<&mpsc::Sender<Bytes>>,
) -> io::Result<()> {
    while left > 0 {
        let mut piece = vec![0; left.min(PIECE)];
        from.read_exact(&mut piece).await?;
        left -= piece.len();
        if let Some(stream) = to {
            // Whoever read it has no use for more.
            let _ = stream.send(piece.into()).await;
        }
    }
    Ok(())
}

async fn write_frames(mut to: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Frame>) -> io::Result<()> {
    let mut compressor = Compressor::default();
    while let Some(frame) = queue.recv().await {
        let bytes = match frame {
            Frame::Raw(bytes) => bytes,
            Frame::Data(id, bytes, flags) => {
                let mut frame = BytesMut::with_capacity(bytes.len() + 8);
                frame.put_u32(id);
                // A piece is far below the 16 MiB that a frame holds.
                frame.put_u32(u32::from(flags) << 24 | bytes.len() as u32 & 0x00ff_ffff);
                frame.put_slice(&bytes);
                frame.freeze()
            }
            Frame::Reply(id) => {
                let mut payload = BytesMut::new();
                payload.put_u32(id);
                payload.put_slice(&compressor.write(&BTreeMap::new())?);
                control(SYN_REPLY, &payload)
            }
        };
        to.write_all(&bytes).await?;
        to.flush().await?;
    }
    to.write_all(&control(GOAWAY, &[0; 8])).await?;
    to.shutdown().await
}

fn control(kind: u16, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 8);
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    frame.put_u32(payload.len() as u32 & 0x00ff_ffff);
    frame.put_slice(payload);
    frame.freeze()
}

/// A stream's number in a payload that is long enough.
fn number(payload: &[u8], at: usize) -> u32 {
    let bytes = payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    u32::from_be_bytes(bytes) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_is_opened_answered_and_ended() {
        let (mut client, server) = tokio::io::duplex(4096);
        let Connection { mut opened, writer } = connect(server);
        let headers = BTreeMap::from([("streamtype".to_owned(), "stdin".to_owned())]);
        let mut payload = BytesMut::new();
        payload.put_u32(1);
        payload.put_slice(&[0; 6]);
        payload.put_slice(&Compressor::default().write(&headers).unwrap());
        client.write_all(&control(SYN_STREAM, &payload)).await.unwrap();
        client.write_all(&[0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i']).await.unwrap();
        client.write_all(&[0, 0, 0, 1, FIN, 0, 0, 0]).await.unwrap();
        let mut stream = opened.recv().await.unwrap();
        assert_eq!((stream.id, stream.headers), (1, headers));
        assert_eq!(stream.data.recv().await.as_deref(), Some(b"hi".as_slice()));
        assert_eq!(stream.data.recv().await, None);
        writer.data(1, Bytes::from_static(b"ok")).await.unwrap();
        writer.finish(1).await;
        drop(writer);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer[..4], [0x80, 3, 0, 2]);
        let data = [0, 0, 0, 1, 0, 0, 0, 2, b'o', b'k', 0, 0, 0, 1, FIN, 0, 0, 0];
        assert!(answer.windows(data.len()).any(|window| window == data), "{answer:?}");
    }
}
