//! Connections to registries: straight, or through a proxy. HTTPS goes through a proxy by CONNECT, so that it reads nothing of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::proxy::Proxies;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Makes connections; TLS is laid over them by others.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    proxies: Arc<Proxies>,
}

/// A connection, which may be one to a proxy.
pub(super) struct Stream {
    tcp: TokioIo<TcpStream>,
    to: Peer,
}

/// Who reads the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Registry,
    Proxy,
}

impl Connector {
    pub(super) fn new(proxies: &Proxies, connect_timeout: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        Connector { tcp, proxies: Arc::new(proxies.clone()) }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Stream, Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let proxy = self.proxies.of(&to);
        Box::pin(async move {
            let Some(proxy) = proxy? else {
                return Ok(Stream { tcp: tcp.call(to).await?, to: Peer::Registry });
            };
            if to.scheme_str() != Some("https") {
                return Ok(Stream { tcp: tcp.call(proxy.uri).await?, to: Peer::Proxy });
            }
            let words = format!("through the proxy {}", proxy.uri.authority().map_or("", |place| place.as_str()));
            let tunnel = Tunnel::new(proxy.uri, tcp);
            let mut tunnel = match proxy.authorization {
                Some(authorization) => tunnel.with_auth(authorization),
                None => tunnel,
            };
            let tcp = tunnel.call(to).await.map_err(|error| format!("{words}: {}", chain(&error)))?;
            Ok(Stream { tcp, to: Peer::Registry })
        })
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.tcp.connected().proxy(self.to == Peer::Proxy)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
