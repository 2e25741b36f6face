//! Asking the servers outside: one after the other until one gives an answer. Answers pass through as they are.
//!
//! A reply is believed only if it comes from the server's address to the port of this one query (each query has its own socket,
//! so the kernel picks a random port), carries the random id, and repeats the question (RFC 5452).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use plan::dns::{Upstream, Way};
use rustix::net::{RecvFlags, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::Transport;
use super::door::Door;
use super::wire;

/// A query on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// The client's packet.
    pub packet: Vec<u8>,
    /// Octets of its question, behind the header.
    pub question: usize,
    /// How it came, and so how it goes on: a client that was told of truncation comes back by TCP.
    pub transport: Transport,
}

/// The first answer that is not a refusal, else the last refusal, with the client's id; none if no server answered at all.
pub async fn forward(servers: &[Upstream], outgoing: Outgoing, door: &Door, patience: Duration) -> Option<Vec<u8>> {
    let Outgoing { mut packet, question, transport } = outgoing;
    let client_id = wire::id(&packet);
    let mut refusal = None;
    for &server in servers {
        let id = random_id();
        wire::set_id(&mut packet, id);
        let expected = Expected { id, question: packet.get(wire::HEADER..wire::HEADER + question)? };
        let asked = async {
            match transport {
                Transport::Udp => ask_udp(server, door, &packet, &expected).await,
                Transport::Tcp => ask_tcp(server, door, &packet, &expected).await,
            }
        };
        let mut reply = match timeout(patience, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => {
                tracing::debug!(?server, %error, "DNS server failed");
                continue;
            }
            Err(_) => {
                tracing::debug!(?server, "DNS server did not answer in time");
                continue;
            }
        };
        wire::set_id(&mut reply, client_id);
        if !matches!(wire::rcode(&reply), SERVFAIL | REFUSED) {
            return Some(reply);
        }
        refusal = Some(reply);
    }
    refusal
}

const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

struct Expected<'a> {
    id: u16,
    question: &'a [u8],
}

impl Expected<'_> {
    fn is(&self, reply: &[u8]) -> bool {
        wire::answers(reply, self.id, self.question)
    }
}

async fn ask_udp(server: Upstream, door: &Door, packet: &[u8], expected: &Expected<'_>) -> io::Result<Vec<u8>> {
    let Upstream { address, by } = server;
    let local: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = match by {
        Way::Host => UdpSocket::bind(local).await?,
        Way::Sandbox => UdpSocket::from_std(door.socket(address, SocketType::DGRAM).await?.into())?,
    };
    socket.connect(address).await?;
    socket.send(packet).await?;
    loop {
        // A port at which nobody listens makes a socket ready by an error alone (ICMP, udp(7)).
        let reply = socket.async_io(Interest::READABLE | Interest::ERROR, || receive(&socket)).await?;
        if expected.is(&reply) {
            return Ok(reply);
        }
    }
}

/// Some servers send more than was asked for, so there is room for any datagram; on the stack, since many queries may wait.
fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut buffer = [0; wire::MAX_TCP];
    let (length, _) = rustix::net::recv(socket, &mut buffer, RecvFlags::empty())?;
    Ok(buffer[..length].to_vec())
}

async fn ask_tcp(server: Upstream, door: &Door, packet: &[u8], expected: &Expected<'_>) -> io::Result<Vec<u8>> {
    let Upstream { address, by } = server;
    let mut stream = match by {
        Way::Host => TcpStream::connect(address).await?,
        Way::Sandbox => {
            let socket = door.socket(address, SocketType::STREAM).await?;
            TcpSocket::from_std_stream(socket.into()).connect(address).await?
        }
    };
    write_message(&mut stream, packet).await?;
    match read_message(&mut stream, wire::MAX_TCP).await? {
        Some(reply) if expected.is(&reply) => Ok(reply),
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is not to our question")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Writes a message with its length before it (RFC 1035 section 4.2.2), in one segment where it fits.
pub async fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length =
        u16::try_from(message.len()).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "message too long"))?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

/// Reads a message; none at the end of the stream. One longer than `limit` is an error.
pub async fn read_message(stream: &mut TcpStream, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let length = match stream.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message too long"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// An id that nobody can guess. Should the kernel have no randomness (before it is seeded), the random source port remains.
fn random_id() -> u16 {
    let mut id = [0; 2];
    match rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::NONBLOCK) {
        Ok(_) => u16::from_ne_bytes(id),
        Err(_) => 0,
    }
}
