//! Unix sockets at paths longer than the 107 bytes that `sockaddr_un` holds: they are named through an open directory.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Binds and listens at `path`.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    through_directory(path, |short| UnixListener::bind(short))
}

/// Connects to `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    through_directory(path, |short| UnixStream::connect(short))
}

fn through_directory<T>(path: &Path, action: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket needs a directory and a name"));
    };
    let directory = File::open(parent)?;
    action(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}
