//! The health check of gRPC (grpc.health.v1.Health/Check): one call over HTTP/2 in the clear.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

/// `ServingStatus.SERVING`
const SERVING: u8 = 1;

/// Asks whether a service is served; the empty name asks for the whole server.
pub async fn check(host: &str, port: u16, service: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("error: health rpc probe failed: {error}");
    let stream = TcpStream::connect((host, port)).await.map_err(|error| failed(&error))?;
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| failed(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{host}:{port}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(request(service)))
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let body = answer.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
    connection.abort();
    match serving(&body) {
        Some(SERVING) => Ok(()),
        status => Err(format!("service unhealthy (responded with {:?})", status.unwrap_or_default())),
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

/// The field `status = 1` of the `HealthCheckResponse` in a frame.
fn serving(frame: &[u8]) -> Option<u8> {
    match frame.get(5..)? {
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}
