//! What becomes of a connection that was upgraded (WebSocket and others): octets, both ways, until both sides have finished.

use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::{accept::Worker, peer::Peer, pool::Lease};

/// Octets in flight each way.
const BUFFER: usize = 16 * 1024;

/// Joins client and endpoint as soon as both have been upgraded. The client's place and the endpoint's count are held meanwhile.
pub(super) fn start(worker: &Arc<Worker>, peer: &Arc<Peer>, ends: (OnUpgrade, OnUpgrade), lease: Lease) {
    let (worker, peer) = (worker.clone(), peer.clone());
    peer.become_tunnel();
    tokio::spawn(async move {
        worker.counters.tunnels.add(1);
        let endpoint = lease.endpoint.address;
        match tokio::try_join!(ends.0, ends.1) {
            Ok((client, server)) => {
                let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
                if let Err(error) = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await {
                    tracing::debug!(%endpoint, %error, "a tunnel broke");
                }
            }
            Err(error) => tracing::debug!(%endpoint, %error, "an upgrade came to nothing"),
        }
        worker.counters.tunnels.sub(1);
        drop((peer, lease));
    });
}
