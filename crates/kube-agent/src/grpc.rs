//! The health check of gRPC (grpc.health.v1.Health/Check): one call over HTTP/2 in the clear.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::words::sentence;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// `ServingStatus`, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: &str = STATUSES[1];
/// The status of a call that the server does not know.
const UNIMPLEMENTED: &str = "12";

/// Asks whether a service is served; the empty name asks for the whole server.
pub async fn check(host: &str, port: u16, service: &str, limit: Duration) -> Result<(), String> {
    let seconds = limit.as_secs();
    let connected = timeout(limit, TcpStream::connect((host, port))).await;
    // Who refuses now may not later: it is tried until the time is over, and that is what is told.
    let late =
        format!("timeout: failed to connect service \"{host}:{port}\" within {seconds}s: context deadline exceeded");
    let Ok(Ok(stream)) = connected else { return Err(late) };
    let answer = timeout(limit, call(stream, service)).await;
    let status = answer.unwrap_or_else(|_| Err(format!("timeout: health rpc did not complete within {seconds}s")))?;
    if status == SERVING { Ok(()) } else { Err(format!("service unhealthy (responded with \"{status}\")")) }
}

async fn call(stream: TcpStream, service: &str) -> Result<&'static str, String> {
    let failed =
        |error: &(dyn std::error::Error + 'static)| format!("error: health rpc probe failed: {}", sentence(error));
    let place = stream.peer_addr().map_err(|error| failed(&error))?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    // It ends with the set.
    let mut connections = JoinSet::new();
    connections.spawn(connection);
    let request = Request::post(format!("http://{place}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("user-agent", "kube-probe/1.36")
        .header("te", "trailers")
        .body(Full::new(request(service)))
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    refusal(answer.headers())?;
    let body = answer.into_body().collect().await.map_err(|error| failed(&error))?;
    body.trailers().map_or(Ok(()), refusal)?;
    let status = status(&body.to_bytes());
    Ok(STATUSES.get(usize::from(status)).copied().unwrap_or(STATUSES[0]))
}

/// What a server says that does not answer the call, in the headers or after the answer.
fn refusal(headers: &HeaderMap) -> Result<(), String> {
    let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let message = said("grpc-message").unwrap_or_default();
    match said("grpc-status") {
        None | Some("0") => Ok(()),
        Some(UNIMPLEMENTED) => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        Some(code) => Err(format!("error: health rpc probe failed: rpc error: code = {code} desc = {message}")),
    }
}

/// A frame of gRPC around `HealthCheckRequest { string service = 1 }`.
fn request(service: &str) -> Bytes {
    // Names of services are far shorter than a byte counts twice.
    let length = u8::try_from(service.len().min(120)).unwrap_or_default();
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(if length == 0 { 0 } else { u32::from(length) + 2 });
    if length > 0 {
        frame.put_slice(&[0x0a, length]);
        frame.put_slice(&service.as_bytes()[..usize::from(length)]);
    }
    frame.freeze()
}

/// The field `status = 1` of the `HealthCheckResponse` in a frame; one that is not there is 0.
fn status(frame: &[u8]) -> u8 {
    match frame.get(5..) {
        Some([0x08, status, ..]) => *status,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        for (frame, expected) in [(&[0, 0, 0, 0, 2, 8, 1][..], 1), (&[0, 0, 0, 0, 0], 0), (&[], 0)] {
            assert_eq!(status(frame), expected, "{frame:?}");
        }
    }

    #[test]
    fn refusals() {
        let check = |status: &'static str, expected: Result<(), &str>| {
            let headers = [("grpc-status", status), ("grpc-message", "no such service")];
            let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            assert_eq!(refusal(&headers.into_iter().collect()), expected.map_err(str::to_owned));
        };
        check("0", Ok(()));
        let unknown =
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no such service";
        check("12", Err(unknown));
        check("5", Err("error: health rpc probe failed: rpc error: code = 5 desc = no such service"));
    }
}
