//! The ports of this host at which services' health and metrics are told.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
};

use tokio::net::TcpListener;
use tracing::warn;

/// A port at all addresses of both families; where the host has no IPv6, of IPv4.
pub async fn listen_everywhere(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
        }
        bound => bound,
    }
}

/// Tells that nobody is answered at a port.
pub fn cannot_be_had(port: u16, what: &str, error: &io::Error) {
    warn!(port, %error, "{what} cannot be asked for: who has the port?");
}
