//! Taking over a connection: after the answer its bytes are a process's terminal or streams.
//!
//! A client that asks for the upgrade gets 101 and the socket, as it is or in the messages of a WebSocket. One that does not gets a
//! plain streaming answer, and what it sends as its body is the input.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::{
    StatusCode,
    header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE},
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

use crate::{
    answer::{self, Answer},
    call::{Body, Call},
    websocket::{self, Handshake},
};

/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// How often to look whether a silent client is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a client has to read the answer's head by itself, and how often to look.
const HEAD_WAIT: Duration = Duration::from_secs(1);
const HEAD_LOOK_EVERY: Duration = Duration::from_millis(1);

/// What comes from the client.
pub(crate) enum Input {
    /// The socket, after what came with the request.
    Socket { early: Bytes, socket: OwnedReadHalf },
    /// The messages of a WebSocket.
    WebSocket(websocket::Receiver),
    /// The body of the request.
    Body(Body),
}

/// What goes to the client.
pub(crate) enum Output {
    /// The socket, and whether the answer's head is still on its way through it.
    Socket { socket: OwnedWriteHalf, head: Head },
    /// The messages of a WebSocket.
    WebSocket(websocket::Sender),
    /// The body of the answer.
    Pipe(mpsc::Sender<io::Result<Bytes>>),
}

/// The head of the answer: some clients (docker-py) lose what they read together with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The client may not have read it yet.
    Sent,
    /// It was read, or the client is not going to read it by itself.
    Past,
}

/// Answers the call, and lets the session have the connection once the answer is out.
pub(crate) fn answer<F>(
    call: Call,
    content_type: &'static str,
    session: impl FnOnce(Input, Output) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let wants_upgrade = call.header(UPGRADE.as_str()).is_some();
    if !wants_upgrade {
        let (sender, answer) = answer::pipe(content_type);
        tokio::spawn(session(Input::Body(call.body), Output::Pipe(sender)));
        return answer;
    }
    let mut answer = answer::with_type(StatusCode::SWITCHING_PROTOCOLS, content_type, answer::nothing());
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("tcp"));
    tokio::spawn(async move {
        match take(call.upgrade).await {
            Ok((socket, early)) => {
                let (read, write) = socket.into_split();
                let output = Output::Socket { socket: write, head: Head::Sent };
                session(Input::Socket { early, socket: read }, output).await;
            }
            Err(error) => tracing::debug!(%error, "a client left before its connection was taken over"),
        }
    });
    answer
}

/// Answers the call with a WebSocket, and lets the session have it once the answer is out.
pub(crate) fn answer_websocket<F>(
    call: Call,
    handshake: Handshake,
    session: impl FnOnce(Input, Output) -> F + Send + 'static,
) -> Answer
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut answer = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, handshake.accept.clone());
    tokio::spawn(async move {
        match take(call.upgrade).await {
            Ok((socket, early)) => {
                let (from, to) = handshake.take(socket, early).await;
                session(Input::WebSocket(from), Output::WebSocket(to)).await;
            }
            Err(error) => tracing::debug!(%error, "a client left before its connection was taken over"),
        }
    });
    answer
}

/// The connection, and what came with the request.
async fn take(upgrade: OnUpgrade) -> io::Result<(UnixStream, Bytes)> {
    let upgraded: Upgraded = upgrade.await.map_err(io::Error::other)?;
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| io::Error::other("the connection is not a unix socket"))?;
    Ok((parts.io.into_inner(), parts.read_buf))
}

impl Input {
    /// The next bytes; none at the end of the input, which need not be the end of the client. May be cancelled without loss.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        match self {
            Self::Socket { early, .. } if !early.is_empty() => Some(std::mem::take(early)),
            Self::Socket { socket, .. } => {
                let mut bytes = BytesMut::with_capacity(READ_BYTES);
                match socket.read_buf(&mut bytes).await {
                    Ok(0) | Err(_) => None,
                    Ok(_) => Some(bytes.freeze()),
                }
            }
            Self::WebSocket(messages) => messages.read().await,
            Self::Body(body) => body.next().await?.ok(),
        }
    }

    /// Ends when the client has left altogether. A client that only has no more to say is still there.
    pub(crate) async fn gone(&self) {
        let socket = match self {
            Self::Socket { socket, .. } => socket,
            // The end of its messages is the end of it.
            Self::WebSocket(_) => return,
            Self::Body(_) => return std::future::pending().await,
        };
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut look = [PollFd::new(socket.as_ref(), PollFlags::empty())];
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            let hung_up = PollFlags::HUP | PollFlags::ERR;
            if poll(&mut look, Some(&at_once)).is_ok() && look[0].revents().intersects(hung_up) {
                return;
            }
        }
    }
}

impl Output {
    /// Sends bytes; waits for a slow client, and fails when it has left.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Self::Socket { socket, head } => {
                if *head == Head::Sent {
                    until_read(socket).await;
                    *head = Head::Past;
                }
                socket.write_all(&bytes).await
            }
            Self::WebSocket(messages) => messages.write(bytes).await,
            Self::Pipe(sender) => sender.send(Ok(bytes)).await.map_err(|_| io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Says that nothing more comes, where there is a way to say it other than the end of the connection.
    pub(crate) async fn finish(&mut self) {
        if let Self::WebSocket(messages) = self {
            messages.close().await;
        }
    }
}

/// Waits until the client has read all that was sent, or long enough: one that sends all its input first does not read.
async fn until_read(socket: &OwnedWriteHalf) {
    let read = async {
        while kernel::socket::unread_bytes(socket.as_ref()).is_ok_and(|bytes| bytes > 0) {
            tokio::time::sleep(HEAD_LOOK_EVERY).await;
        }
    };
    let _ = tokio::time::timeout(HEAD_WAIT, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_does_not_overtake_the_reading_of_the_head() {
        let (server, mut client) = UnixStream::pair().unwrap();
        let (_input, mut socket) = server.into_split();
        socket.write_all(b"head").await.unwrap();
        let mut output = Output::Socket { socket, head: Head::Sent };
        let writing = tokio::spawn(async move { output.write(Bytes::from_static(b"body")).await });
        tokio::task::yield_now().await;
        let mut bytes = [0; 64];
        let length = client.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..length], b"head");
        writing.await.unwrap().unwrap();
        let length = client.read(&mut bytes).await.unwrap();
        assert_eq!(&bytes[..length], b"body");
    }
}
