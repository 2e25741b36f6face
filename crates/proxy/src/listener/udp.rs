//! UDP: one flow per client, each with its own socket towards the container and an end when nothing has moved for a while.
//!
//! Replies leave by the listener's socket from the very address that the client's datagrams were redirected to, for only then
//! does conntrack give them the source that the client expects.

mod packet;

use std::collections::HashMap;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::port::Protocol;
use plan::listener::ListenerTable;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::Listening;
use packet::{Local, Socket};

/// What one listener may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Flows at a time; datagrams that would start more are dropped. Each holds one socket.
    pub flows: usize,
    /// A flow ends when nothing has moved for this long.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { flows: 1024, idle: Duration::from_secs(90) }
    }
}

/// Serves a bound socket. Must be called on a runtime.
///
/// `original` says where a client meant to go, from the client's address and the local address that its datagrams arrive at: it
/// looks conntrack up by the reply direction. It is called once for each flow.
///
/// # Errors
/// When the socket cannot be set up or registered with the event loop.
pub fn serve<F>(
    socket: net::UdpSocket,
    table: Arc<ArcSwap<ListenerTable>>,
    original: F,
    limits: Limits,
) -> io::Result<Listening>
where
    F: Fn(SocketAddr, SocketAddr) -> Option<SocketAddr> + Send + 'static,
{
    let listener = Listener {
        socket: Arc::new(Socket::new(socket)?),
        table,
        original,
        limits,
        flows: HashMap::new(),
        tasks: JoinSet::new(),
    };
    Ok(Listening::start(|stopped| listener.run(stopped)))
}

struct Listener<F> {
    socket: Arc<Socket>,
    table: Arc<ArcSwap<ListenerTable>>,
    original: F,
    limits: Limits,
    flows: HashMap<SocketAddr, Flow>,
    /// One task for each flow; it returns the client when the flow has ended.
    tasks: JoinSet<SocketAddr>,
}

struct Flow {
    asked: SocketAddr,
    target: SocketAddr,
    upstream: Arc<UdpSocket>,
    moved: Arc<AtomicBool>,
    task: AbortHandle,
}

impl<F> Listener<F>
where
    F: Fn(SocketAddr, SocketAddr) -> Option<SocketAddr> + Send + 'static,
{
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let outcome = tokio::select! {
                _ = &mut stopped => return,
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(client) = ended {
                        self.forget_finished(client);
                    }
                    Ok(())
                }
                ready = self.socket.readable() => ready.and_then(|()| self.drain()),
            };
            if let Err(error) = outcome {
                tracing::warn!(%error, "the socket of published UDP ports failed; trying again");
                sleep(PAUSE).await;
            }
        }
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; LARGEST];
        for _ in 0..BATCH {
            match self.socket.try_receive(&mut buffer) {
                Ok(received) => self.forward(received.client, received.local, &buffer[..received.length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn forward(&mut self, client: SocketAddr, local: Local, datagram: &[u8]) {
        if let Some(flow) = self.flows.get(&client) {
            let target = self.table.load().target(Protocol::Udp, flow.asked);
            if target == Some(flow.target) && !flow.task.is_finished() {
                return flow.send(datagram);
            }
            // It ended just now, or the port leads elsewhere or nowhere since: the old container must not get this.
            flow.task.abort();
            self.flows.remove(&client);
        }
        match self.open(client, local) {
            Ok(Some(flow)) => {
                flow.send(datagram);
                self.flows.insert(client, flow);
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%client, %error, "no flow for a UDP client"),
        }
    }

    /// The client may have a new flow by the time that the end of its old one is seen.
    fn forget_finished(&mut self, client: SocketAddr) {
        if self.flows.get(&client).is_some_and(|flow| flow.task.is_finished()) {
            self.flows.remove(&client);
        }
    }

    /// A new flow, unless it leads nowhere or there are too many.
    fn open(&mut self, client: SocketAddr, local: Local) -> io::Result<Option<Flow>> {
        if self.flows.len() >= self.limits.flows {
            tracing::debug!(%client, "too many UDP flows");
            return Ok(None);
        }
        let Some(asked) = (self.original)(client, local.address) else { return Ok(None) };
        let Some(target) = self.table.load().target(Protocol::Udp, asked) else { return Ok(None) };
        let upstream = Arc::new(connect(target)?);
        let moved = Arc::new(AtomicBool::new(true));
        let back = Back {
            listener: self.socket.clone(),
            upstream: upstream.clone(),
            client,
            local,
            moved: moved.clone(),
            idle: self.limits.idle,
        };
        let task = self.tasks.spawn(back.run());
        Ok(Some(Flow { asked, target, upstream, moved, task }))
    }
}

/// After an error that is likely to come again at once.
const PAUSE: Duration = Duration::from_millis(50);

/// Datagrams in one go, before others get their turn.
const BATCH: usize = 64;

/// No datagram is larger.
const LARGEST: usize = 65_535;

fn connect(target: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = net::UdpSocket::bind(any)?;
    socket.connect(target)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

impl Flow {
    /// What the container cannot take now is lost, as on any link. Past the event loop, which does not know a new socket yet.
    fn send(&self, datagram: &[u8]) {
        self.moved.store(true, Relaxed);
        let send = || rustix::net::send(&self.upstream, datagram, SendFlags::DONTWAIT);
        // "Connection refused" is news of an earlier datagram, told instead of sending this one.
        let sent = send().or_else(|error| if error == Errno::CONNREFUSED { send() } else { Err(error) });
        if let Err(error) = sent {
            tracing::debug!(target = %self.target, %error, "a datagram was lost");
        }
    }
}

/// The way back of one flow.
struct Back {
    listener: Arc<Socket>,
    upstream: Arc<UdpSocket>,
    client: SocketAddr,
    local: Local,
    /// Set by either direction, cleared by each look at the clock.
    moved: Arc<AtomicBool>,
    idle: Duration,
}

impl Back {
    async fn run(self) -> SocketAddr {
        while self.moved.swap(false, Relaxed) {
            let replies = async {
                while self.upstream.readable().await.is_ok() {
                    self.drain();
                    // Many replies in a row would otherwise never let the timeout look at the clock.
                    tokio::task::yield_now().await;
                }
            };
            let _ = timeout(self.idle, replies).await;
        }
        self.client
    }

    /// "Connection refused" comes from a port inside that nobody listens on yet: the flow goes on.
    fn drain(&self) {
        let mut buffer = [0; LARGEST];
        for _ in 0..BATCH {
            match self.upstream.try_recv(&mut buffer) {
                Ok(length) => {
                    self.moved.store(true, Relaxed);
                    if let Err(error) = self.listener.try_send(&buffer[..length], self.client, self.local) {
                        tracing::debug!(client = %self.client, %error, "a reply was lost");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(_) => return,
            }
        }
    }
}
