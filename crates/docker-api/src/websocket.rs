//! WebSockets (RFC 6455) over a taken-over connection: the handshake, and messages as input and output.

use std::io;

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use hyper::header::{HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use tokio::net::UnixStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Message, Role, WebSocketConfig},
    },
};

use crate::{ApiError, call::Call, version::Version};

/// The longest message, bytes: a client that sends more in one piece is cut off.
const MESSAGE_MAX_BYTES: usize = 16 << 20;
/// Before this version output came as text, whatever it was.
const BINARY: Version = Version::new(1, 28);

/// What a client asked for in its handshake.
#[derive(Clone, Debug)]
pub(crate) struct Handshake {
    /// What proves to the client that it was understood (section 4.2.2).
    pub(crate) accept: HeaderValue,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// What comes from the client.
pub(crate) struct Receiver(SplitStream<WebSocketStream<UnixStream>>);

/// What goes to the client.
pub(crate) struct Sender {
    sink: SplitSink<WebSocketStream<UnixStream>, Message>,
    kind: Kind,
}

impl Handshake {
    /// Reads the client's half.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let is = |name: HeaderName, value: &str| {
            call.header(name.as_str()).is_some_and(|found| found.trim().eq_ignore_ascii_case(value))
        };
        let key = call.headers.get(SEC_WEBSOCKET_KEY);
        let Some(key) = key.filter(|_| is(UPGRADE, "websocket") && is(SEC_WEBSOCKET_VERSION, "13")) else {
            return Err(ApiError::invalid("a WebSocket handshake of version 13 is expected here (RFC 6455)"));
        };
        let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()));
        let accept = accept.map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(Self { accept, kind: if call.version >= BINARY { Kind::Binary } else { Kind::Text } })
    }

    /// The two directions, once the answer is out; `early` is what came with the request.
    pub(crate) async fn take(self, socket: UnixStream, early: Bytes) -> (Receiver, Sender) {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_MAX_BYTES))
            .max_frame_size(Some(MESSAGE_MAX_BYTES));
        let socket = WebSocketStream::from_partially_read(socket, early.into(), Role::Server, Some(config)).await;
        let (sink, stream) = socket.split();
        (Receiver(stream), Sender { sink, kind: self.kind })
    }
}

impl Receiver {
    /// The next bytes; none when the client has left. Pings are answered underneath.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        loop {
            match self.0.next().await? {
                Ok(Message::Binary(bytes)) => return Some(bytes),
                Ok(Message::Text(text)) => return Some(text.into()),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

impl Sender {
    /// Sends bytes as one message.
    pub(crate) async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let message = match self.kind {
            Kind::Binary => Message::Binary(bytes),
            Kind::Text => Message::Text(String::from_utf8_lossy(&bytes).into_owned().into()),
        };
        self.sink.send(message).await.map_err(io::Error::other)
    }

    /// Says that nothing more comes.
    pub(crate) async fn close(&mut self) {
        // A client that has left needs no goodbye.
        let _ = self.sink.close().await;
    }
}
