//! Real packets: who waits for them where, and what arrives.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kernel::socket::in_namespace;
use model::port::Protocol;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};

/// How long what must come may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The calling thread's namespace.
pub const HERE: &str = "/proc/thread-self/ns/net";
/// A datagram that has not come after this long is sent again.
const AGAIN: Duration = Duration::from_secs(1);

pub fn listen(netns: &Path, address: &str) -> TcpListener {
    in_namespace(netns, || TcpListener::bind(address)).expect("inside").expect("to bind")
}

pub fn connect(netns: &Path, address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().expect("an address");
    in_namespace(netns, || TcpStream::connect_timeout(&address, PATIENCE)).expect("inside")
}

/// Where packets arrive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub netns: PathBuf,
    pub protocol: Protocol,
    pub address: SocketAddr,
}

/// Somebody who waits at a place, and answers.
pub struct Listener {
    pub place: Place,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

/// What came. Senders say a number of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub place: Place,
    pub source: IpAddr,
    /// None from a connection on which nothing was said.
    pub number: Option<u32>,
}

impl Listener {
    pub fn new(place: Place) -> Self {
        let Place { protocol, address, .. } = place;
        let bind = || -> io::Result<Socket> {
            Ok(match protocol {
                Protocol::Tcp => Socket::Tcp(TcpListener::bind(address)?),
                Protocol::Udp => Socket::Udp(UdpSocket::bind(address)?),
                Protocol::Sctp => return Err(io::ErrorKind::Unsupported.into()),
            })
        };
        let bound = in_namespace(&place.netns, bind).and_then(|bound| bound);
        Self { socket: bound.unwrap_or_else(|error| panic!("{place:?}: {error}")), place }
    }

    /// What is there to be taken, with an answer.
    fn take(&self) -> io::Result<Arrival> {
        let mut number = [0; 4];
        let (source, said) = match &self.socket {
            Socket::Tcp(listener) => {
                let (mut stream, source) = listener.accept()?;
                stream.set_read_timeout(Some(AGAIN))?;
                (source, stream.read_exact(&mut number))
            }
            Socket::Udp(socket) => {
                let (_, source) = socket.recv_from(&mut number)?;
                (source, socket.send_to(&number, source).map(drop))
            }
        };
        let number = said.ok().map(|()| u32::from_be_bytes(number));
        Ok(Arrival { place: self.place.clone(), source: source.ip(), number })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
        }
    }
}

/// The next that comes to any of them, if one comes in that time.
pub fn next(listeners: &[Listener], within: Duration) -> Option<Arrival> {
    let mut fds: Vec<_> = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
    let within = Timespec::try_from(within).expect("a short time");
    poll(&mut fds, Some(&within)).expect("to wait");
    let ready = fds.iter().position(|fd| !fd.revents().is_empty())?;
    Some(listeners[ready].take().expect("to take what is there"))
}

/// A packet that is sent: from which namespace, to whom, and the sender's number.
#[derive(Clone, Debug)]
pub struct Sent {
    pub netns: PathBuf,
    pub protocol: Protocol,
    pub to: SocketAddr,
    pub number: u32,
}

impl Sent {
    /// Sends what should arrive, waits for it and for its answer, and tells where it came and whom it was seen to be from. What comes
    /// of others goes to `strays`.
    pub fn deliver(&self, listeners: &[Listener], strays: &mut Vec<Arrival>) -> io::Result<Arrival> {
        match self.protocol {
            Protocol::Tcp => {
                let connect = || TcpStream::connect_timeout(&self.to, PATIENCE);
                let mut stream = in_namespace(&self.netns, connect)??;
                stream.write_all(&self.number.to_be_bytes())?;
                self.arrival(listeners, PATIENCE, strays)
            }
            _ => {
                let socket = self.udp()?;
                socket.set_read_timeout(Some(PATIENCE))?;
                let deadline = Instant::now() + PATIENCE;
                loop {
                    socket.send(&self.number.to_be_bytes())?;
                    match self.arrival(listeners, AGAIN, strays) {
                        Ok(arrival) => return socket.recv(&mut [0; 4]).map(|_| arrival),
                        Err(error) if Instant::now() > deadline => return Err(error),
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// Sends what should not arrive. An error says that it cannot even leave.
    pub fn dispatch(&self) -> io::Result<Dispatched> {
        let socket = match self.protocol {
            Protocol::Tcp => Dispatching::Tcp(in_namespace(&self.netns, || self.begin_to_connect())??),
            _ => {
                let socket = self.udp()?;
                socket.send(&self.number.to_be_bytes())?;
                socket.set_nonblocking(true)?;
                Dispatching::Udp(socket)
            }
        };
        Ok(Dispatched(socket))
    }

    fn arrival(&self, listeners: &[Listener], within: Duration, strays: &mut Vec<Arrival>) -> io::Result<Arrival> {
        let deadline = Instant::now() + within;
        while let Some(arrival) = next(listeners, deadline.saturating_duration_since(Instant::now())) {
            if arrival.number == Some(self.number) {
                return Ok(arrival);
            }
            strays.push(arrival);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "nobody has seen it arrive"))
    }

    fn udp(&self) -> io::Result<UdpSocket> {
        let any = if self.to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let socket = in_namespace(&self.netns, || UdpSocket::bind((any, 0)))??;
        socket.connect(self.to)?;
        Ok(socket)
    }

    fn begin_to_connect(&self) -> io::Result<TcpStream> {
        let family = if self.to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &self.to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket.into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A packet that should not arrive, on its way.
pub struct Dispatched(Dispatching);

enum Dispatching {
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Dispatched {
    /// Whether anybody answered up to now: `Ok` with an answer, else what the sender was told, `WouldBlock` when nothing.
    pub fn answer(&self) -> io::Result<()> {
        match &self.0 {
            Dispatching::Tcp(stream) => {
                let mut fds = [PollFd::new(stream, PollFlags::OUT)];
                match poll(&mut fds, Some(&Timespec::default()))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => stream.take_error()?.map_or(Ok(()), Err),
                }
            }
            Dispatching::Udp(socket) => socket.recv(&mut [0; 4]).map(drop),
        }
    }
}
