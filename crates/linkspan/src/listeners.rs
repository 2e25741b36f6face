//! The sockets that serve what NAT cannot: one of each family and protocol, at one port, for any number of published ports.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

use engine::Engine;
use kernel::conntrack::Conntrack;
use model::port::Protocol;
use plan::names::LISTENER_PORT;
use proxy::listener::{Listening, tcp, udp};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tracing::warn;

/// Serves them; they end when they are dropped. A family that the host does not have is said and left out.
pub fn serve(engine: &Engine, connections: Conntrack) -> Vec<Listening> {
    let connections = Arc::new(Mutex::new(connections));
    let families =
        [SocketAddr::from((Ipv4Addr::UNSPECIFIED, LISTENER_PORT)), (Ipv6Addr::UNSPECIFIED, LISTENER_PORT).into()];
    let served =
        families.into_iter().flat_map(|address| [tcp(engine, address), udp(engine, address, Arc::clone(&connections))]);
    let told = |listening: io::Result<Listening>| {
        listening
            .inspect_err(|error| warn!(%error, "some ports published across address families will not answer"))
            .ok()
    };
    served.filter_map(told).collect()
}

fn tcp(engine: &Engine, address: SocketAddr) -> io::Result<Listening> {
    let socket = open(SocketType::STREAM, address)?;
    listen(&socket, 1)?;
    tcp::serve(TcpListener::from(socket), Arc::clone(engine.listeners()), tcp::Limits::default())
}

fn udp(engine: &Engine, address: SocketAddr, connections: Arc<Mutex<Conntrack>>) -> io::Result<Listening> {
    let socket = UdpSocket::from(open(SocketType::DGRAM, address)?);
    let asked = move |client, local| {
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.original_destination(Protocol::Udp.number(), client, local).ok().flatten()
    };
    udp::serve(socket, Arc::clone(engine.listeners()), asked, udp::Limits::default())
}

/// A bound socket of one family alone, since conntrack knows a client by the address it really has.
fn open(kind: SocketType, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if kind == SocketType::STREAM {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}
