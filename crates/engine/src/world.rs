//! The window on the world: what is true of the host now. The binary gives the real one, tests a made one.

use std::{
    io,
    net::{IpAddr, TcpListener, UdpSocket},
};

use model::{Command, Facts, SandboxId, State};
use plan::dns::ResolvConf;

/// What the engine must be told, and cannot decide.
pub trait World: Send {
    /// What is true now, as far as the command's decision can need it.
    fn facts(&mut self, state: &State, command: &Command) -> Facts;

    /// The sockets at 127.0.0.11 in a sandbox's namespace.
    fn name_sockets(&mut self, sandbox: &SandboxId) -> io::Result<(UdpSocket, TcpListener)>;

    /// The sockets at an address of the cluster's name service, which the host has or is about to have.
    fn cluster_name_sockets(&mut self, address: IpAddr) -> io::Result<(UdpSocket, TcpListener)>;

    /// The host's own name servers and search list.
    fn resolv_conf(&self) -> ResolvConf;
}
