//! Sockets inside the namespace of a sandbox, for servers that only the sandbox reaches. Nothing is opened before the first is asked.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use kernel::socket::{SocketThread, SocketWish, namespace_of};
use rustix::net::{AddressFamily, SocketType};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;

/// The way into one sandbox's namespace.
#[derive(Debug)]
pub struct Door {
    /// The sandbox's own socket, which is inside.
    inside: Arc<UdpSocket>,
    namespace: OnceLock<Arc<OwnedFd>>,
    sockets: Arc<SocketThread>,
}

impl Door {
    /// To where this socket is.
    pub fn new(inside: Arc<UdpSocket>, sockets: Arc<SocketThread>) -> Self {
        Self { inside, namespace: OnceLock::new(), sockets }
    }

    /// A socket of the server's family in there, not bound and not connected.
    pub async fn socket(&self, server: SocketAddr, kind: SocketType) -> io::Result<OwnedFd> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let (sender, receiver) = oneshot::channel();
        let done = Box::new(move |made| {
            // A query that was given up needs no socket.
            let _ = sender.send(made);
        });
        self.sockets.make(SocketWish { namespace: self.namespace()?, family, kind, done });
        receiver.await.unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn namespace(&self) -> io::Result<Arc<OwnedFd>> {
        if let Some(known) = self.namespace.get() {
            return Ok(known.clone());
        }
        let found = Arc::new(namespace_of(&*self.inside)?);
        Ok(self.namespace.get_or_init(|| found).clone())
    }
}
