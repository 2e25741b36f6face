//! The sockets at which the daemon is asked.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{Gid, Uid, chown};
use tracing::warn;

use super::{DaemonError, Setup};
use crate::config;

/// The named socket; else the usual one unless somebody answers there; else one in the run directory.
pub fn docker(setup: &Setup) -> Result<(UnixListener, PathBuf), DaemonError> {
    let usual = PathBuf::from(config::DOCKER_SOCKET);
    let answers = |path: &Path| UnixStream::connect(path).is_ok();
    let path = match setup.docker_socket.clone() {
        Some(named) if answers(&named) => return Err(DaemonError::Answered(named)),
        Some(named) => named,
        None if answers(&usual) => setup.run_dir.join("docker.sock"),
        None => usual,
    };
    let group = group(&setup.docker_group);
    if group.is_none() {
        warn!(
            group = setup.docker_group,
            "there is no such group, so only root may use the Docker socket: make it with groupadd"
        );
    }
    Ok((bind(&path, 0o660, group)?, path))
}

/// A socket with its mode and group set before anybody can connect.
pub fn bind(path: &Path, mode: u32, group: Option<Gid>) -> Result<UnixListener, DaemonError> {
    let failed = |what| move |source| DaemonError::Path { what, path: path.to_owned(), source };
    let fresh = path.with_extension("new");
    // A container's root may have no /var/run.
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed("make the directory of the socket"))?;
    }
    for old in [path, &fresh] {
        let removed = match fs::symlink_metadata(old) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(old),
            Ok(_) => Err(io::Error::other("it is there and is no socket")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.map_err(failed("replace the socket"))?;
    }
    let listener = UnixListener::bind(&fresh).map_err(failed("bind the socket"))?;
    chown(&fresh, Some(Uid::ROOT), group.or(Some(Gid::ROOT))).map_err(|e| failed("set the group of")(e.into()))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(mode)).map_err(failed("set the mode of"))?;
    fs::rename(&fresh, path).map_err(failed("name the socket"))?;
    Ok(listener)
}

pub fn listener(listener: UnixListener) -> Result<tokio::net::UnixListener, DaemonError> {
    let failed = |e| DaemonError::System("serve a socket", e);
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::UnixListener::from_std(listener).map_err(failed)
}

/// The group's number (group(5)).
fn group(name: &str) -> Option<Gid> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    let line = groups.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok().map(Gid::from_raw)
}
