//! A directory tree as a container sees it: paths are resolved with that directory as the root, so no link and no
//! `..` leads out of it, even while somebody changes the tree.
//!
//! Source: openat2(2), `RESOLVE_IN_ROOT`.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2},
    io::Errno,
};

/// How often a path is tried again when the tree changes under the resolution.
const RETRIES: usize = 32;

/// The root of a tree.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// The tree below a directory of the host.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: File::open(path)?.into() })
    }

    /// The tree below an open directory.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// The directory itself.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Opens what `path` leads to, following links.
    pub fn resolve(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        resolve_below(&self.fd, path, flags)
    }

    /// Opens the directory in which the last component of `path` is, and names that component; the component itself
    /// is not followed. `None` stands for the root or a path that ends in `..`.
    pub fn parent(&self, path: &Path) -> io::Result<(OwnedFd, Option<PathBuf>)> {
        let path = normal(path);
        match (path.parent(), path.components().next_back()) {
            (Some(parent), Some(Component::Normal(name))) => {
                Ok((self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY)?, Some(PathBuf::from(name))))
            }
            _ => Ok((self.resolve(&path, OFlags::PATH | OFlags::DIRECTORY)?, None)),
        }
    }

    /// Makes a directory and those above it where they are missing, as root and with the usual permissions.
    pub fn make_directories(&self, path: &Path) -> io::Result<()> {
        let mut reached = PathBuf::new();
        for component in normal(path).components() {
            let Component::Normal(name) = component else { continue };
            let above = self.resolve(&reached, OFlags::PATH | OFlags::DIRECTORY)?;
            reached.push(name);
            match self.resolve(&reached, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => make_directory(&above, name)?,
                other => drop(other?),
            }
        }
        Ok(())
    }
}

fn make_directory(above: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match mkdirat(above, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => Ok(other?),
    }
}

fn resolve_below(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    for _ in 0..RETRIES {
        match openat2(
            &root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            // EAGAIN: a rename elsewhere made it impossible to be sure.
            Err(Errno::AGAIN) => {}
            other => return Ok(other?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Without a trailing slash or dots, which mean nothing for where something is; `..` stays.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}
