//! A container's files from outside: looking at them, copying them out and in as tar, and what it has changed. Every
//! path is resolved inside the container's root; nothing is executed there and no mount is left behind.

pub mod changes;
mod extract;
mod fill;
pub mod overlay;
mod pack;
pub mod tree;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::{AtFlags, FileType, OFlags, fstat, readlinkat, statat},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
};

use crate::{
    image::decompress,
    rootfs::{
        overlay::{OverlayError, overlay_options},
        tree::Root,
    },
    shim::launch::Rootfs,
};

pub use changes::{Change, ChangeKind, changes};
pub use extract::PutWish;

/// A container's files cannot be reached or changed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// See the message.
    #[error("Could not find the file {} in container", .0.display())]
    NotFound(PathBuf),
    /// Files are extracted in a directory.
    #[error("extraction point {} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// The archive has a directory where the container has a file, or the other way round.
    #[error("cannot overwrite {was} {} with {becomes} in container", path.display())]
    Overwrite {
        /// In the container.
        path: PathBuf,
        /// What is there.
        was: &'static str,
        /// What the archive has.
        becomes: &'static str,
    },
    /// The archive names something outside of itself.
    #[error("the archive's entry {0:?} leads out of the directory it is extracted in")]
    Breakout(String),
    /// The archive is compressed in a way that is not read here, or badly.
    #[error("cannot decompress the archive")]
    Compression(#[source] io::Error),
    /// The layers of a stopped container cannot be mounted.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// In the container.
        path: PathBuf,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// What is known of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Last component of the path that was asked for.
    pub name: OsString,
    /// Length.
    pub size_bytes: u64,
    /// Type and permissions, inode(7).
    pub mode: u32,
    /// Last change of its content: seconds since the Unix epoch, and nanoseconds.
    pub modified: (i64, u32),
    /// Where a symbolic link leads.
    pub link_target: Option<PathBuf>,
}

/// The files of one container. All operations block.
#[derive(Debug)]
pub struct Files {
    root: Root,
}

impl Files {
    /// Those that a running container sees: `pid` is its first process.
    pub fn of_process(pid: u32) -> Result<Self, FilesError> {
        let path = PathBuf::from(format!("/proc/{pid}/root"));
        Root::open(&path).map(|root| Self { root }).map_err(|source| FilesError::Io { action: "reach", path, source })
    }

    /// Those of a container that does not run; it must not be started meanwhile.
    pub fn of_layers(rootfs: &Rootfs) -> Result<Self, FilesError> {
        match rootfs {
            Rootfs::Directory(path) => Root::open(path).map(|root| Self { root }).map_err(|source| FilesError::Io {
                action: "open",
                path: path.clone(),
                source,
            }),
            Rootfs::Overlay { lower, upper, work } => {
                let options = overlay_options(lower, Some((upper, work)))?;
                let target = upper.parent().unwrap_or(upper).to_owned();
                let mounted = private_mount(move || {
                    mount("overlay", &target, "overlay", MountFlags::empty(), Some(options.as_c_str()))?;
                    Ok(File::open(&target)?.into())
                });
                Ok(Self { root: Root::from_fd(mounted.map_err(|error| OverlayError::refused(error, upper))?) })
            }
        }
    }

    /// Looks at `path`. A link at its end is not followed, unless a slash or a dot comes after it.
    pub fn stat(&self, path: &Path) -> Result<FileStat, FilesError> {
        self.look(path).map_err(|source| not_found("look at", path, source))
    }

    /// Writes `path`, with all below it, as a tar archive in which it has its own name, or `.` when it ends so.
    pub fn get(&self, path: &Path, out: impl Write) -> Result<(), FilesError> {
        let name = name_of(path);
        let content = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
        let name = if name.is_empty() || content { PathBuf::from(".") } else { PathBuf::from(name) };
        let (directory, entry) = self.place(path).map_err(|source| not_found("open", path, source))?;
        let packed = match entry {
            Some(entry) => pack::entry(&directory, &entry, &name, pack::Mounts::Follow, out),
            None => pack::entry(&directory, Path::new("."), &name, pack::Mounts::Follow, out),
        };
        packed.map_err(|source| FilesError::Io { action: "archive", path: path.to_owned(), source })
    }

    /// Extracts a tar archive, as it is or compressed with gzip or zstd, in the directory `path`.
    pub fn put(&self, path: &Path, archive: impl Read + Send, wish: PutWish) -> Result<(), FilesError> {
        let directory = self.root.resolve(path, OFlags::PATH).map_err(|source| not_found("open", path, source))?;
        let stat = fstat(&directory).map_err(|errno| not_found("look at", path, errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Err(FilesError::NotDirectory(path.to_owned()));
        }
        extract::extract(&self.root, path, decompress(archive).map_err(FilesError::Compression)?, wish)
    }

    /// Writes the whole tree as a tar archive; what is mounted in it is left out.
    pub fn export(&self, out: impl Write) -> Result<(), FilesError> {
        pack::tree(self.root.fd(), pack::Mounts::LeaveOut, out).map_err(|source| FilesError::Io {
            action: "archive",
            path: "/".into(),
            source,
        })
    }

    fn look(&self, path: &Path) -> io::Result<FileStat> {
        let (directory, entry) = self.place(path)?;
        let (stat, link) = match &entry {
            Some(entry) => {
                let stat = statat(&directory, entry, AtFlags::SYMLINK_NOFOLLOW)?;
                let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
                let target = is_link.then(|| readlinkat(&directory, entry, Vec::new())).transpose()?;
                (stat, target.map(|target| PathBuf::from(OsString::from_vec(target.into_bytes()))))
            }
            None => (fstat(&directory)?, None),
        };
        let name = name_of(path);
        Ok(FileStat {
            name: if name.is_empty() { "/".into() } else { name },
            size_bytes: stat.st_size.unsigned_abs(),
            mode: stat.st_mode,
            modified: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            link_target: link.map(|target| path.parent().unwrap_or(path).join(target)),
        })
    }

    /// Where `path` is: a directory and a name in it, or the directory itself.
    fn place(&self, path: &Path) -> io::Result<(OwnedFd, Option<PathBuf>)> {
        let text = path.as_os_str().as_encoded_bytes();
        if text.ends_with(b"/") || text.ends_with(b"/.") {
            return Ok((self.root.resolve(path, OFlags::PATH | OFlags::DIRECTORY)?, None));
        }
        self.root.parent(path)
    }
}

fn name_of(path: &Path) -> OsString {
    path.file_name().map(OsString::from).unwrap_or_default()
}

fn not_found(action: &'static str, path: &Path, source: io::Error) -> FilesError {
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FilesError::NotFound(path.to_owned()),
        _ => FilesError::Io { action, path: path.to_owned(), source },
    }
}

/// Mounts in a mount namespace that only one short-lived thread has. The mount outlives it for as long as the
/// descriptor is open, in no namespace at all.
fn private_mount(mount: impl FnOnce() -> io::Result<OwnedFd> + Send + 'static) -> io::Result<OwnedFd> {
    let thread = thread::Builder::new().name("private-mount".to_owned()).spawn(move || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        mount()
    })?;
    thread.join().unwrap_or_else(|_| Err(io::Error::other("the mounting thread panicked")))
}
