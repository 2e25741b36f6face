//! What keeps two daemons apart: one in a run directory, and one in a network namespace. The journal sees to its own.

use std::{
    fs::File,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::fs::{FlockOperation, flock};

use super::{DaemonError, directory};
use crate::admin;

/// Holds the run directory for this daemon alone.
pub fn run_directory(run_dir: &Path) -> Result<File, DaemonError> {
    directory(run_dir, 0o711)?;
    let path = admin::lock(run_dir);
    let file = File::create(&path).map_err(|source| DaemonError::Path { what: "make", path, source })?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| DaemonError::Running(run_dir.to_owned()))?;
    Ok(file)
}

/// Holds this network namespace for this daemon alone: an abstract socket is one of its names, unix(7). Anybody may take that name, but only
/// root holds a network.
pub fn network() -> Result<Option<UnixListener>, DaemonError> {
    let failed = |source| DaemonError::System("hold the host's network", source);
    let name = SocketAddr::from_abstract_name("linkspan").map_err(failed)?;
    match UnixListener::bind_addr(&name) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = UnixStream::connect_addr(&name).and_then(|holder| Ok(getsockopt(&holder, PeerCredentials)?));
            match holder {
                Ok(holder) if holder.uid() == 0 => Err(DaemonError::Kept(match holder.pid() {
                    0 => "in another pid namespace".to_owned(),
                    pid => format!("pid {pid}"),
                })),
                // Somebody who is not root, or who has just left.
                Ok(_) | Err(_) => Ok(UnixListener::bind_addr(&name).ok()),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// Holds the network until the daemon ends. Who asks for it is let go at once: a full queue would keep the next one waiting.
pub async fn hold(lock: tokio::net::UnixListener) {
    loop {
        if lock.accept().await.is_err() {
            // No file is free for the moment, and without a pause this would ask for one all the time.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
