//! TCP: accept, connect to where the client meant to go, and copy both ways until both sides have finished.

use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::port::Protocol;
use nix::sys::socket::{getsockopt, sockopt};
use plan::listener::ListenerTable;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Listening;

/// What one listener may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients at a time; more wait in the kernel's queue. Each holds two sockets.
    pub connections: usize,
    /// How long a container may take to accept.
    pub connect_patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, connect_patience: Duration::from_secs(10) }
    }
}

/// Serves a bound listener. Must be called on a runtime.
///
/// A client goes where the table leads the destination that it asked for before nftables redirected it; one that leads nowhere,
/// or whose container does not accept, is reset.
///
/// # Errors
/// When the socket cannot be registered with the event loop.
pub fn serve(listener: net::TcpListener, table: Arc<ArcSwap<ListenerTable>>, limits: Limits) -> io::Result<Listening> {
    listener.set_nonblocking(true)?;
    // Again, for the standard library's queue of 128 overflows at the first burst, and then clients wait a second.
    rustix::net::listen(&listener, BACKLOG)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(Listening::start(|stopped| accept(listener, table, limits, stopped)))
}

async fn accept(
    listener: TcpListener,
    table: Arc<ArcSwap<ListenerTable>>,
    limits: Limits,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((client, _)) => {
                    let target = destination(&client).and_then(|asked| table.load().target(Protocol::Tcp, asked));
                    match target {
                        Some(target) => drop(connections.spawn(relay(client, target, limits.connect_patience))),
                        None => reset(&client),
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a client of a published port was not accepted");
                    sleep(PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Clients that the kernel holds until we accept them; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// After an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Bytes in flight each way.
const BUFFER: usize = 16 * 1024;

/// Where the client meant to go: what conntrack remembers, or, for a client that was not redirected, where it arrived.
fn destination(client: &TcpStream) -> Option<SocketAddr> {
    let local = client.local_addr().ok()?;
    let asked = match local {
        SocketAddr::V4(_) => getsockopt(client, sockopt::OriginalDst).map(v4),
        SocketAddr::V6(_) => getsockopt(client, sockopt::Ip6tOriginalDst).map(v6),
    };
    Some(asked.unwrap_or(local))
}

fn v4(address: libc::sockaddr_in) -> SocketAddr {
    let ip = net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    (ip, u16::from_be(address.sin_port)).into()
}

fn v6(address: libc::sockaddr_in6) -> SocketAddr {
    let ip = net::Ipv6Addr::from(address.sin6_addr.s6_addr);
    (ip, u16::from_be(address.sin6_port)).into()
}

async fn relay(mut client: TcpStream, target: SocketAddr, patience: Duration) {
    let mut server = match timeout(patience, TcpStream::connect(target)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => {
            tracing::debug!(%target, %error, "the container does not accept");
            return reset(&client);
        }
        Err(_) => {
            tracing::debug!(%target, "the container does not answer");
            return reset(&client);
        }
    };
    for stream in [&client, &server] {
        // Both only make it better: small messages at once, and an end for peers that vanished.
        let _ = stream.set_nodelay(true);
        let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
    }
    if let Err(error) = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await {
        tracing::debug!(%target, %error, "a connection broke");
        reset(&client);
        reset(&server);
    }
}

/// Makes the close that follows a reset, so that the peer does not take it for the end of the data.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}
