//! The DNS server that sandboxes see at 127.0.0.11.
//!
//! One task serves a sandbox: its UDP socket, its TCP listener, and whatever waits for an answer from outside. Stopping the
//! sandbox, or dropping the server, ends that task and all it holds. A network's names are one table behind one pointer, so a
//! container that comes or goes costs one swap, whatever the number of sandboxes that see it.

mod answer;
mod cluster;
mod door;
mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod sandbox;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kernel::socket::SocketThread;
use model::{NetworkId, SandboxId};
use plan::dns::{ClusterNames, DnsView, Forward, NetworkNames, Unqualified, Upstream};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use answer::Scope;
use door::Door;

/// What one server may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Queries that wait for servers outside, over all sandboxes. Each holds one socket.
    pub forwards: usize,
    /// The same for one sandbox.
    pub forwards_per_sandbox: usize,
    /// TCP clients of one sandbox.
    pub tcp_clients: usize,
    /// How long one server outside may take before the next is asked.
    pub server_patience: Duration,
    /// How long a TCP client may be silent (RFC 7766 section 6.2.3).
    pub tcp_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            forwards: 1024,
            forwards_per_sandbox: 256,
            tcp_clients: 64,
            server_patience: Duration::from_secs(2),
            tcp_idle: Duration::from_secs(10),
        }
    }
}

/// A sandbox cannot be served.
#[derive(Debug, Error)]
#[error(
    "DNS for sandbox {sandbox} cannot start: its sockets were not accepted by the event loop; are there too many open files?"
)]
pub struct ServeError {
    /// The sandbox.
    pub sandbox: SandboxId,
    /// What the kernel said.
    pub source: io::Error,
}

/// Sockets at port 53 of an address that this host has, or is about to have.
pub fn sockets_at(address: IpAddr) -> io::Result<(UdpSocket, TcpListener)> {
    use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
    let at = SocketAddr::new(address, 53);
    let open = |kind| -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
        if address.is_ipv4() {
            sockopt::set_ip_freebind(&socket, true)?;
        } else {
            sockopt::set_ipv6_freebind(&socket, true)?;
        }
        if kind == SocketType::STREAM {
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        net::bind(&socket, &at)?;
        Ok(socket)
    };
    let (udp, tcp) = (open(SocketType::DGRAM)?, open(SocketType::STREAM)?);
    net::listen(&tcp, 1024)?;
    Ok((udp.into(), tcp.into()))
}

/// The servers of all sandboxes.
#[derive(Debug)]
pub struct Server {
    runtime: Handle,
    limits: Limits,
    forwards: Arc<Semaphore>,
    sockets: Arc<SocketThread>,
    networks: BTreeMap<NetworkId, Arc<ArcSwap<NetworkNames>>>,
    sandboxes: BTreeMap<SandboxId, Serving>,
    cluster_names: Arc<ArcSwap<ClusterNames>>,
    /// Its tasks, one for each address.
    cluster: BTreeMap<IpAddr, JoinSet<()>>,
}

#[derive(Debug)]
struct Serving {
    scope: Arc<ArcSwap<Scope>>,
    /// One task; it is aborted when the set is dropped.
    _task: JoinSet<()>,
}

impl Server {
    /// A server without sandboxes, whose tasks will run on `runtime`.
    pub fn new(runtime: Handle, limits: Limits) -> Self {
        let forwards = Arc::new(Semaphore::new(limits.forwards));
        Self {
            runtime,
            limits,
            forwards,
            sockets: Arc::default(),
            networks: BTreeMap::new(),
            sandboxes: BTreeMap::new(),
            cluster_names: Arc::default(),
            cluster: BTreeMap::new(),
        }
    }

    /// Swaps the names of one network, for all sandboxes that see it, now or later.
    pub fn set_names(&mut self, network: &NetworkId, names: Arc<NetworkNames>) {
        match self.networks.get(network) {
            Some(table) => table.store(names),
            None => {
                self.networks.insert(network.clone(), Arc::new(ArcSwap::new(names)));
            }
        }
    }

    /// The present names of one network.
    pub fn names(&self, network: &NetworkId) -> Option<Arc<NetworkNames>> {
        self.networks.get(network).map(|table| table.load_full())
    }

    /// Forgets a network. Sandboxes whose view still has it see it without names.
    pub fn forget_names(&mut self, network: &NetworkId) {
        if let Some(table) = self.networks.remove(network) {
            table.store(Arc::new(NetworkNames::new("")));
        }
    }

    /// Starts answering on a sandbox's sockets, which are bound inside its namespace. One that was served before under this key
    /// is stopped.
    ///
    /// # Errors
    /// When the sockets cannot be registered with the event loop.
    pub fn serve(
        &mut self,
        sandbox: SandboxId,
        udp: UdpSocket,
        tcp: TcpListener,
        view: Arc<DnsView>,
    ) -> Result<(), ServeError> {
        let scope = Arc::new(ArcSwap::from_pointee(self.scope(view)));
        let sockets = {
            let _runtime = self.runtime.enter();
            sandbox::Sockets::new(udp, tcp)
        };
        let sockets = sockets.map_err(|source| ServeError { sandbox: sandbox.clone(), source })?;
        let mut task = JoinSet::new();
        let door = Door::new(sockets.udp(), self.sockets.clone());
        let shared = sandbox::Shared::new(scope.clone(), self.forwards.clone(), self.limits, door);
        task.spawn_on(sandbox::serve(sockets, shared), &self.runtime);
        self.sandboxes.insert(sandbox, Serving { scope, _task: task });
        Ok(())
    }

    /// Swaps the names of the cluster.
    pub fn set_cluster_names(&mut self, names: Arc<ClusterNames>) {
        self.cluster_names.store(names);
    }

    /// The present names of the cluster.
    pub fn cluster_names(&self) -> Arc<ClusterNames> {
        self.cluster_names.load_full()
    }

    /// The addresses at which the cluster's names are answered, in order.
    pub fn cluster_addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.cluster.keys()
    }

    /// Starts answering at one more address of the cluster's name service. Other names are asked of the servers outside.
    ///
    /// # Errors
    /// When the sockets cannot be registered with the event loop.
    pub fn serve_cluster(
        &mut self,
        address: IpAddr,
        (udp, tcp): (UdpSocket, TcpListener),
        outside: Vec<Upstream>,
    ) -> io::Result<()> {
        let sockets = {
            let _runtime = self.runtime.enter();
            sandbox::Sockets::new(udp, tcp)?
        };
        let forward = Forward::Upstream(outside);
        let view = Arc::new(DnsView { networks: Vec::new(), forward, unqualified: Unqualified::Forward });
        let scope = Scope { view, networks: Vec::new(), cluster: Some(self.cluster_names.clone()) };
        let door = Door::new(sockets.udp(), self.sockets.clone());
        let scope = Arc::new(ArcSwap::from_pointee(scope));
        // All pods share it.
        let limits = Limits { forwards_per_sandbox: self.limits.forwards, tcp_clients: 1024, ..self.limits };
        let shared = sandbox::Shared::new(scope, self.forwards.clone(), limits, door);
        let mut task = JoinSet::new();
        task.spawn_on(sandbox::serve(sockets, shared), &self.runtime);
        self.cluster.insert(address, task);
        Ok(())
    }

    /// Stops answering at an address of the cluster's name service.
    pub fn stop_cluster(&mut self, address: &IpAddr) {
        self.cluster.remove(address);
    }

    /// Swaps the view of one sandbox. A sandbox that is not served is left alone.
    pub fn update(&mut self, sandbox: &SandboxId, view: Arc<DnsView>) {
        let scope = self.scope(view);
        if let Some(serving) = self.sandboxes.get(sandbox) {
            serving.scope.store(Arc::new(scope));
        }
    }

    /// Stops answering a sandbox and closes its sockets.
    pub fn stop(&mut self, sandbox: &SandboxId) {
        self.sandboxes.remove(sandbox);
    }

    /// The sandboxes that are served, in order.
    pub fn sandboxes(&self) -> impl Iterator<Item = &SandboxId> {
        self.sandboxes.keys()
    }

    /// Networks that have no names yet get an empty table, so that the view and the names may come in any order.
    fn scope(&mut self, view: Arc<DnsView>) -> Scope {
        let empty = || Arc::new(ArcSwap::from_pointee(NetworkNames::new("")));
        let table = |network: &NetworkId| self.networks.entry(network.clone()).or_insert_with(empty).clone();
        let networks = view.networks.iter().map(|attached| &attached.network).map(table).collect();
        Scope { view, networks, cluster: None }
    }
}
