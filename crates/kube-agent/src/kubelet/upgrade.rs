//! Taking over a connection: which protocol its client wants to speak, and the answer to that.

use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{
        CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, UPGRADE,
    },
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Answer, Refusal, text};

/// Which streams are spoken of, in SPDY: several values, or several headers.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// A connection that is to be taken over.
pub struct Upgrade {
    /// How the streams are carried.
    pub carrier: Carrier,
    /// What is spoken on them.
    pub protocol: &'static str,
    connection: OnUpgrade,
}

/// How streams are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// In the messages of a WebSocket.
    WebSocket,
    /// As streams of SPDY/3.1.
    Spdy,
}

/// What a service speaks, the best first.
pub struct Offer {
    /// Over WebSockets.
    pub websocket: &'static [&'static str],
    /// Over SPDY.
    pub spdy: &'static [&'static str],
}

/// Agrees with a client on what is spoken. The answer must be sent before the connection can be had.
pub fn agree(request: Request<Incoming>, offer: &Offer) -> Result<(Upgrade, Answer), Refusal> {
    let headers = request.headers();
    let wanted = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
    let (carrier, protocol, answer) = match wanted.as_str() {
        "websocket" => {
            let key = headers
                .get(SEC_WEBSOCKET_KEY)
                .ok_or_else(|| Refusal::invalid("Sec-WebSocket-Key is missing (RFC 6455)"))?;
            let protocol = choose(headers, &SEC_WEBSOCKET_PROTOCOL, offer.websocket)?;
            let mut answer = switching("websocket");
            let accept =
                HeaderValue::from_str(&derive_accept_key(key.as_bytes())).map_err(|error| Refusal::internal(&error))?;
            answer.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept);
            answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
            (Carrier::WebSocket, protocol, answer)
        }
        "spdy/3.1" => {
            let protocol = choose(headers, &STREAM_PROTOCOL, offer.spdy)?;
            let mut answer = switching("SPDY/3.1");
            answer.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            (Carrier::Spdy, protocol, answer)
        }
        _ => {
            return Err(Refusal::invalid(
                "you must specify at least 1 of stdin, stdout, stderr, and upgrade the connection to WebSocket or SPDY/3.1",
            ));
        }
    };
    Ok((Upgrade { carrier, protocol, connection: hyper::upgrade::on(request) }, answer))
}

impl Upgrade {
    /// The connection, once the answer is out.
    pub async fn connection(self) -> hyper::Result<TokioIo<Upgraded>> {
        self.connection.await.map(TokioIo::new)
    }
}

fn switching(to: &'static str) -> Response<super::Body> {
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    answer.headers_mut().clear();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(to));
    answer
}

/// The first that the client says and the service speaks.
fn choose(headers: &HeaderMap, name: &HeaderName, spoken: &[&'static str]) -> Result<&'static str, Refusal> {
    let said = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let said: Vec<&str> =
        said.flat_map(|value| value.split(',')).map(str::trim).filter(|said| !said.is_empty()).collect();
    let chosen = said.iter().find_map(|said| spoken.iter().find(|spoken| *spoken == said)).copied();
    match (chosen, said.is_empty(), spoken.last()) {
        (Some(chosen), ..) => Ok(chosen),
        // Who says nothing speaks the oldest.
        (None, true, Some(oldest)) => Ok(oldest),
        _ => {
            let words = format!("unable to negotiate protocol: client supports {said:?}, server accepts {spoken:?}");
            Err(Refusal(StatusCode::FORBIDDEN, words))
        }
    }
}
