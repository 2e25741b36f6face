//! The task that serves one sandbox.

use std::io;
use std::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwap;
use plan::dns::Forward;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Limits;
use super::answer::{self, Scope, Transport, Verdict};
use super::door::Door;
use super::forward::{self, Outgoing};
use super::wire;

/// The sockets of one sandbox, registered with the event loop.
pub struct Sockets {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Sockets {
    /// Must be called on a runtime.
    pub fn new(udp: net::UdpSocket, tcp: net::TcpListener) -> io::Result<Self> {
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { udp: Arc::new(UdpSocket::from_std(udp)?), tcp: TcpListener::from_std(tcp)? })
    }

    /// The one for datagrams.
    pub fn udp(&self) -> Arc<UdpSocket> {
        self.udp.clone()
    }
}

/// What the tasks of one sandbox share.
pub struct Shared {
    scope: Arc<ArcSwap<Scope>>,
    forwards: Arc<Semaphore>,
    own_forwards: Semaphore,
    limits: Limits,
    door: Door,
    turn: AtomicUsize,
}

impl Shared {
    /// `forwards` is common to all sandboxes.
    pub fn new(scope: Arc<ArcSwap<Scope>>, forwards: Arc<Semaphore>, limits: Limits, door: Door) -> Arc<Self> {
        let own_forwards = Semaphore::new(limits.forwards_per_sandbox);
        Arc::new(Self { scope, forwards, own_forwards, limits, door, turn: AtomicUsize::new(0) })
    }

    fn answer(&self, packet: &[u8], transport: Transport, out: &mut Vec<u8>) -> Verdict {
        answer::answer(&self.scope.load(), packet, transport, self.turn.fetch_add(1, Relaxed), out)
    }

    /// A place among the waiting, or none if all are taken: then the client is told at once, rather than left to its timeout.
    fn place(&self) -> Option<(SemaphorePermit<'_>, SemaphorePermit<'_>)> {
        Some((self.own_forwards.try_acquire().ok()?, self.forwards.try_acquire().ok()?))
    }

    async fn forward(&self, outgoing: Outgoing) -> Vec<u8> {
        let mut failure = Vec::new();
        answer::fail(&outgoing.packet, outgoing.transport, &mut failure);
        let Some(_place) = self.place() else {
            tracing::debug!("too many DNS queries wait for servers outside");
            return failure;
        };
        let view = self.scope.load().view.clone();
        let Forward::Upstream(servers) = &view.forward else { return failure };
        forward::forward(servers, outgoing, &self.door, self.limits.server_patience).await.unwrap_or(failure)
    }
}

impl Shared {
    /// Asks the servers outside for the addresses of a name that the one in question stands for.
    async fn follow(&self, packet: &[u8], target: &str, transport: Transport) -> Vec<u8> {
        let mut out = Vec::new();
        let kind = wire::Query::parse(packet).map_or(wire::kind::A, |query| query.kind);
        let Some(asked) = wire::ask(target, kind) else {
            answer::fail(packet, transport, &mut out);
            return out;
        };
        let question = asked.len() - wire::HEADER;
        let heard = self.forward(Outgoing { packet: asked, question, transport }).await;
        answer::follow(packet, target, &heard, transport, &mut out);
        out
    }
}

/// Serves until it is aborted.
pub async fn serve(sockets: Sockets, shared: Arc<Shared>) {
    let mut waiting = JoinSet::new();
    let mut clients = JoinSet::new();
    loop {
        let outcome = tokio::select! {
            ready = sockets.udp.readable() => ready.and_then(|()| drain(&sockets.udp, &shared, &mut waiting)),
            accepted = sockets.tcp.accept(), if clients.len() < shared.limits.tcp_clients => accepted.map(|(stream, _)| {
                clients.spawn(serve_client(stream, shared.clone()));
            }),
            Some(_) = waiting.join_next() => Ok(()),
            Some(_) = clients.join_next() => Ok(()),
        };
        if let Err(error) = outcome {
            tracing::warn!(%error, "a sandbox's DNS socket failed; trying again");
            sleep(PAUSE).await;
        }
    }
}

/// After an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Datagrams in one go, before other sandboxes get their turn.
const BATCH: usize = 64;

/// Answers what has arrived. The buffers live for this call only, so that sandboxes at rest hold none.
fn drain(udp: &Arc<UdpSocket>, shared: &Arc<Shared>, waiting: &mut JoinSet<()>) -> io::Result<()> {
    let mut packet = [0; wire::MAX_UDP];
    let mut out = Vec::with_capacity(wire::MIN_UDP);
    for _ in 0..BATCH {
        let (length, client) = match udp.try_recv_from(&mut packet) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        out.clear();
        match shared.answer(&packet[..length], Transport::Udp, &mut out) {
            Verdict::Reply => send(udp, &out, client),
            Verdict::Drop => {}
            Verdict::Forward { question } => {
                let outgoing = Outgoing { packet: packet[..length].to_vec(), question, transport: Transport::Udp };
                let (udp, shared) = (udp.clone(), shared.clone());
                waiting.spawn(async move { send(&udp, &shared.forward(outgoing).await, client) });
            }
            Verdict::Follow { target } => {
                let (udp, shared, packet) = (udp.clone(), shared.clone(), packet[..length].to_vec());
                waiting
                    .spawn(async move { send(&udp, &shared.follow(&packet, &target, Transport::Udp).await, client) });
            }
        }
    }
    Ok(())
}

/// A datagram that does not go out is a datagram lost: the client asks again.
fn send(udp: &UdpSocket, reply: &[u8], client: net::SocketAddr) {
    if let Err(error) = udp.try_send_to(reply, client) {
        tracing::debug!(%error, %client, "DNS answer not sent");
    }
}

async fn serve_client(mut stream: TcpStream, shared: Arc<Shared>) {
    if let Err(error) = serve_messages(&mut stream, &shared).await {
        tracing::debug!(%error, "DNS client over TCP");
    }
}

async fn serve_messages(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = Vec::new();
    loop {
        let Some(packet) = timeout(shared.limits.tcp_idle, forward::read_message(stream, wire::MAX_UDP)).await?? else {
            return Ok(());
        };
        out.clear();
        match shared.answer(&packet, Transport::Tcp, &mut out) {
            Verdict::Reply => {}
            Verdict::Drop => continue,
            Verdict::Forward { question } => {
                out = shared.forward(Outgoing { packet, question, transport: Transport::Tcp }).await;
            }
            Verdict::Follow { target } => out = shared.follow(&packet, &target, Transport::Tcp).await,
        }
        timeout(shared.limits.tcp_idle, forward::write_message(stream, &out)).await??;
    }
}
