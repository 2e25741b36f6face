//! Streams in the messages of a WebSocket: the first byte of each says which stream it is of (`v4.channel.k8s.io`). In version 5 a
//! message of channel 255 says that another stream has ended.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use runtime::shim::protocol::{Stream, WindowSize};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, frame::coding::CloseCode},
};

use super::command::{Client, Said, Streams, Told};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// The longest message, bytes.
const MESSAGE_MAX_BYTES: usize = 16 << 20;
/// How many messages may wait for a slow reader.
const WAITING: usize = 16;

/// A WebSocket whose handshake is over.
pub async fn accept(connection: TokioIo<Upgraded>) -> WebSocketStream<TokioIo<Upgraded>> {
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX_BYTES)).max_frame_size(Some(MESSAGE_MAX_BYTES));
    WebSocketStream::from_raw_socket(connection, Role::Server, Some(config)).await
}

/// The end of a conversation as it should be.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// The client at the other end.
pub async fn client(connection: TokioIo<Upgraded>, protocol: &'static str, streams: Streams) -> Client {
    let (mut sink, mut stream) = accept(connection).await.split();
    let (say, said) = mpsc::channel(WAITING);
    let (told, mut tell) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        while let Some(Ok(message)) = stream.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => return,
                _ => continue,
            };
            if let Some(said) = read(&bytes, protocol)
                && say.send(said).await.is_err()
            {
                // The process has ended; what is typed still is for nobody.
                continue;
            }
        }
    });
    tokio::spawn(async move {
        // An empty message says that the connection stands.
        let first = if streams.stdout {
            STDOUT
        } else if streams.stderr {
            STDERR
        } else {
            ERROR
        };
        let _ = sink.send(Message::Binary(Bytes::copy_from_slice(&[first]))).await;
        while let Some(told) = tell.recv().await {
            let over = matches!(told, Told::Status(_));
            if sink.send(Message::Binary(write(told))).await.is_err() || over {
                break;
            }
        }
        let _ = sink.send(goodbye()).await;
    });
    Client { said, told }
}

/// The size of a terminal on its way.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    width: u16,
    height: u16,
}

impl From<Size> for WindowSize {
    fn from(size: Size) -> Self {
        Self { rows: size.height, columns: size.width }
    }
}

pub fn read(message: &Bytes, protocol: &str) -> Option<Said> {
    let (channel, rest) = message.split_first()?;
    match *channel {
        STDIN => Some(Said::Input(message.slice(1..))).filter(|_| !rest.is_empty()),
        RESIZE => serde_json::from_slice::<Size>(rest).ok().map(|size| Said::Size(size.into())),
        CLOSE if protocol.starts_with("v5") && rest.first() == Some(&STDIN) => Some(Said::EndOfInput),
        _ => None,
    }
}

fn write(told: Told) -> Bytes {
    let (channel, bytes) = match told {
        Told::Output(Stream::Stdout, bytes) => (STDOUT, bytes),
        Told::Output(_, bytes) => (STDERR, bytes),
        Told::Status(status) => (ERROR, status.to_string().into()),
    };
    let mut message = BytesMut::with_capacity(bytes.len() + 1);
    message.put_u8(channel);
    message.put_slice(&bytes);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let check = |message: &'static [u8], protocol, expected| {
            assert_eq!(read(&Bytes::from_static(message), protocol), expected, "{message:?}");
        };
        check(b"\0ls\n", "v4.channel.k8s.io", Some(Said::Input(Bytes::from_static(b"ls\n"))));
        check(b"\xff\0", "v5.channel.k8s.io", Some(Said::EndOfInput));
        check(b"\xff\0", "v4.channel.k8s.io", None);
        check(
            b"\x04{\"Width\":80,\"Height\":24}",
            "v5.channel.k8s.io",
            Some(Said::Size(WindowSize { rows: 24, columns: 80 })),
        );
        check(b"", "v5.channel.k8s.io", None);
        assert_eq!(write(Told::Output(Stream::Stderr, Bytes::from_static(b"no"))).as_ref(), b"\x02no");
    }
}
