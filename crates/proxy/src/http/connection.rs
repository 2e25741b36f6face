//! One client's connection: who it is, what it speaks, and its clock.

use std::{convert::Infallible, io, pin::Pin, sync::Arc};

use bytes::BytesMut;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Limits, Stage,
    accept::Worker,
    exchange,
    peer::{Arrived, Overdue, Peer},
    proxy_protocol::{self, Addresses, Parsed},
    stream::{Begun, Stream, Watched},
};

/// Serves a client until it leaves, has to leave, or becomes a tunnel.
pub(super) async fn serve(worker: Arc<Worker>, tcp: TcpStream, arrived: Arrived) {
    let counters = worker.counters.clone();
    counters.connections.add(1);
    counters.open.add(1);
    let from = arrived.from;
    let limits = worker.settings.limits;
    match timeout(limits.header_patience, open(&worker, tcp, arrived)).await {
        Ok(Ok(Some(client))) => {
            if let Err(error) = speak(&worker, client).await {
                tracing::debug!(%from, %error, "a connection broke");
            }
        }
        // It came and went, as those do who only look whether the port is open.
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            counters.not_begun.add(1);
            tracing::debug!(%from, %error, "a connection did not begin");
        }
        Err(_) => {
            counters.not_begun.add(1);
            tracing::debug!(%from, "a connection did not begin in time");
        }
    }
    counters.open.sub(1);
}

/// Finds out who the client is and what it speaks. `None` when it says nothing.
async fn open(worker: &Worker, mut tcp: TcpStream, arrived: Arrived) -> io::Result<Option<Watched>> {
    let mut addresses = Addresses { source: arrived.from, destination: tcp.local_addr()? };
    let mut ahead = BytesMut::new();
    let from = arrived.from.ip().to_canonical();
    if worker.settings.proxy_protocol_from.iter().any(|trusted| trusted.contains(&from)) {
        let Some(told) = read_proxy_header(&mut tcp, &mut ahead).await? else { return Ok(None) };
        addresses = told.unwrap_or(addresses);
    }
    if arrived.tls {
        let begun = Begun { ahead: ahead.freeze(), tcp };
        let stream = TlsAcceptor::from(worker.tls.clone()).accept(begun).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let peer = Arc::new(Peer::new(addresses, http2, arrived));
        return Ok(Some(Watched { stream: Stream::Tls(Box::new(stream.into())), peer }));
    }
    let Some(http2) = is_http2(&mut tcp, &mut ahead).await? else { return Ok(None) };
    let peer = Arc::new(Peer::new(addresses, http2, arrived));
    peer.heard();
    Ok(Some(Watched { stream: Stream::Plain(Begun { ahead: ahead.freeze(), tcp }), peer }))
}

/// The outer `None`: the client is gone. The inner: the balancer speaks for itself.
async fn read_proxy_header(tcp: &mut TcpStream, ahead: &mut BytesMut) -> io::Result<Option<Option<Addresses>>> {
    loop {
        match proxy_protocol::parse(ahead).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Parsed::Header { addresses, length } => {
                drop(ahead.split_to(length));
                return Ok(Some(addresses));
            }
            Parsed::More => {
                ahead.reserve(256);
                if tcp.read_buf(ahead).await? == 0 {
                    return Ok(None);
                }
            }
        }
    }
}

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether a client without TLS begins with HTTP/2 (RFC 9113, 3.3). `None`: it is gone.
async fn is_http2(tcp: &mut TcpStream, ahead: &mut BytesMut) -> io::Result<Option<bool>> {
    loop {
        let known = ahead.len().min(PREFACE.len());
        if ahead[..known] != PREFACE[..known] {
            return Ok(Some(false));
        }
        if known == PREFACE.len() {
            return Ok(Some(true));
        }
        ahead.reserve(1024);
        if tcp.read_buf(ahead).await? == 0 {
            return Ok(None);
        }
    }
}

async fn speak(worker: &Arc<Worker>, client: Watched) -> hyper::Result<()> {
    let peer = client.peer.clone();
    let limits = &worker.settings.limits;
    let service = {
        let (worker, peer) = (worker.clone(), peer.clone());
        service_fn(move |request| {
            let (worker, peer) = (worker.clone(), peer.clone());
            async move { Ok::<_, Infallible>(exchange::answer(&worker, &peer, request).await) }
        })
    };
    if peer.http2 {
        let connection = builder2(limits).serve_connection(TokioIo::new(client), service);
        drive(worker, &peer, std::pin::pin!(connection), |connection| connection.graceful_shutdown()).await
    } else {
        let connection = builder1(limits).serve_connection(TokioIo::new(client), service).with_upgrades();
        drive(worker, &peer, std::pin::pin!(connection), |connection| connection.graceful_shutdown()).await
    }
}

pub(super) fn builder1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Where hyper gives up reading, by itself with status 431; ours is lower and answered in words.
    builder.max_buf_size(limits.header_octets.saturating_mul(2).max(8192));
    // Its own 100 cost it no memory.
    if limits.fields > 100 {
        builder.max_headers(limits.fields);
    }
    builder
}

fn builder2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_octets.saturating_mul(2)).unwrap_or(u32::MAX))
        // Of streams that are opened only to be reset (CVE-2023-44487), and of our resets that the client provokes.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(limits.body_patience)
        .keep_alive_timeout(limits.header_patience);
    builder
}

/// Polls a connection to its end, asks it to come to one when the gateway does, and when the client takes too long.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    worker: &Worker,
    peer: &Peer,
    mut connection: Pin<&mut C>,
    stop: impl Fn(Pin<&mut C>),
) -> hyper::Result<()> {
    let limits = &worker.settings.limits;
    let mut stage = worker.stage.clone();
    let (mut closing, mut idle) = (false, false);
    let every = limits.header_patience / 4;
    let clock = sleep_until(Instant::now() + every);
    tokio::pin!(clock);
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => return result,
            told = async { stage.wait_for(|stage| *stage == Stage::Closing).await.is_ok() }, if !closing => {
                if !told {
                    return Ok(());
                }
                closing = true;
                stop(connection.as_mut());
            }
            () = clock.as_mut() => {
                clock.as_mut().reset(Instant::now() + every);
                match peer.overdue(limits) {
                    None => idle = false,
                    Some(Overdue::Header) => {
                        worker.counters.slow.add(1);
                        peer.expire();
                    }
                    Some(Overdue::Idle) if !idle => {
                        idle = true;
                        stop(connection.as_mut());
                    }
                    Some(Overdue::Idle) => return Ok(()),
                    Some(Overdue::Blocked) => {
                        worker.counters.slow.add(1);
                        return Ok(());
                    }
                }
            }
        }
    }
}
