//! Listening sockets: one of each address for every thread, so that a client wakes one thread and waits in one queue (SO_REUSEPORT,
//! socket(7)).

use std::{io, net::TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::Listeners;

/// Clients that the kernel holds until we accept them; it cuts this down to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Each thread's own.
pub(super) fn spread(listeners: Listeners, threads: usize) -> io::Result<Vec<Listeners>> {
    let mut all: Vec<_> = (0..threads).map(|_| Listeners::default()).collect();
    for (listener, tls) in
        listeners.http.into_iter().map(|l| (l, false)).chain(listeners.https.into_iter().map(|l| (l, true)))
    {
        // Only now: an address that somebody else has was refused when it was bound.
        sockopt::set_socket_reuseport(&listener, true)?;
        let twins = (1..threads).map(|_| twin(&listener)).collect::<io::Result<Vec<_>>>()?;
        for (own, listener) in all.iter_mut().zip([listener].into_iter().chain(twins)) {
            prepare(&listener)?;
            if tls { &mut own.https } else { &mut own.http }.push(listener);
        }
    }
    Ok(all)
}

/// Another socket at the same address.
fn twin(of: &TcpListener) -> io::Result<TcpListener> {
    let address = of.local_addr()?;
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, sockopt::ipv6_v6only(of)?)?;
    }
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    bind(&socket, &address)?;
    Ok(socket.into())
}

fn prepare(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // Accepted sockets inherit both: small answers at once, and an end for clients that vanished.
    sockopt::set_tcp_nodelay(listener, true)?;
    sockopt::set_socket_keepalive(listener, true)?;
    // Again, for the standard library's queue of 128 overflows at the first burst, and then clients wait a second.
    Ok(listen(listener, BACKLOG)?)
}
