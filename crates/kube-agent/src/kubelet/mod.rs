//! Kubelet's own HTTPS API: what the API server asks a node for its users.

use std::{io, sync::Arc};

use tokio::net::TcpListener;

use crate::{Shared, pods::Known};

/// Where kubelet's API is served, and to whom.
pub struct Kubelet {
    /// The port.
    pub listener: TcpListener,
    /// Certificate, key, and whose certificates are taken.
    pub tls: Arc<rustls::ServerConfig>,
}

/// The task that serves.
pub(crate) async fn serve(
    kubelet: Kubelet,
    shared: Arc<Shared>,
    known: Known,
) -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async move { drop((kubelet.listener.local_addr(), kubelet.tls, shared, known.all(), known.find("", ""))) })
}
