//! The upper directory of an overlay becomes a layer's tar stream. The inverse of `unpack`.
//!
//! The container may still run and rename things under us: directories are walked by file descriptor and no symlink
//! is followed, so nothing outside the upper directory is ever read.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, major, minor};
use rustix::io::Errno;

use super::tar_reader::{Entry, EntryKind};
use super::tar_writer::TarWriter;
use super::{OPAQUE_XATTR, WHITEOUT_OPAQUE, WHITEOUT_PREFIX};

/// Deeper trees are an attack on the stack and the file descriptors, not a filesystem.
const DEPTH_MAX: usize = 512;
/// Room for the names of the few attributes that files have.
const NAMES_LEN: usize = 1024;
/// The kernel's limit for all names of a file, and for each value (xattr(7)).
const XATTR_MAX_LEN: usize = 64 << 10;

/// Writes the changes in `upper` as a tar stream. `exclude` names paths from its root that are left out: the mount
/// points a runtime made.
pub(crate) fn pack<W: Write>(upper: &Path, exclude: &BTreeSet<PathBuf>, out: W) -> io::Result<W> {
    let root = rustix::fs::open(upper, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut walk = Walk { tar: TarWriter::new(out), links: HashMap::new(), exclude };
    walk.directory(&root, Path::new(""), 0)?;
    walk.tar.finish()
}

struct Walk<'a, W> {
    tar: TarWriter<W>,
    /// First path of each inode that has several.
    links: HashMap<(u64, u64), PathBuf>,
    exclude: &'a BTreeSet<PathBuf>,
}

impl<W: Write> Walk<'_, W> {
    fn directory(&mut self, dir: &OwnedFd, path: &Path, depth: usize) -> io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(io::Error::other(format!("{} is more than {DEPTH_MAX} directories deep", path.display())));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let path = path.join(OsStr::from_bytes(&name));
            if !self.exclude.contains(&path) {
                let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
                self.entry(dir, OsStr::from_bytes(&name), &path, depth).map_err(named)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> io::Result<()> {
        let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice if stat.st_rdev == 0 => return self.whiteout(path),
            FileType::CharacterDevice => EntryKind::CharDevice,
            FileType::BlockDevice => EntryKind::BlockDevice,
            FileType::Directory => EntryKind::Directory,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Symlink => EntryKind::Symlink,
            FileType::RegularFile => EntryKind::File,
            // Sockets mean nothing without the process that listens.
            _ => return Ok(()),
        };
        let mut entry = entry_of(path, kind, &stat);
        if kind != EntryKind::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = EntryKind::HardLink;
                entry.link = first.as_os_str().as_bytes().to_vec();
                entry.len = 0;
                return self.tar.append(&entry, io::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        entry.xattrs = xattrs(dir, name)?;
        match kind {
            EntryKind::Directory => self.subdirectory(dir, name, path, entry, depth),
            EntryKind::File => self.file(dir, name, entry),
            EntryKind::Symlink => {
                entry.link = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
                self.tar.append(&entry, io::empty())
            }
            _ => self.tar.append(&entry, io::empty()),
        }
    }

    fn subdirectory(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        path: &Path,
        mut entry: Entry,
        depth: usize,
    ) -> io::Result<()> {
        let opaque = take_overlay_notes(&mut entry)?;
        self.tar.append(&entry, io::empty())?;
        if opaque {
            let mark = path.join(OsStr::from_bytes(WHITEOUT_OPAQUE));
            self.mark(&mark)?;
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let inner = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        self.directory(&inner, path, depth + 1)
    }

    fn file(&mut self, dir: &OwnedFd, name: &OsStr, mut entry: Entry) -> io::Result<()> {
        take_overlay_notes(&mut entry)?;
        // A pipe that takes the file's place between the two calls must not block us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        self.tar.append(&entry, std::fs::File::from(file))
    }

    fn whiteout(&mut self, path: &Path) -> io::Result<()> {
        let mut name = WHITEOUT_PREFIX.to_vec();
        name.extend_from_slice(path.file_name().unwrap_or_default().as_bytes());
        self.mark(&path.with_file_name(OsStr::from_bytes(&name)))
    }

    fn mark(&mut self, path: &Path) -> io::Result<()> {
        let mut entry = Entry::plain("", EntryKind::File, 0, 0);
        entry.path = path.as_os_str().as_bytes().to_vec();
        self.tar.append(&entry, io::empty())
    }
}

fn entry_of(path: &Path, kind: EntryKind, stat: &Stat) -> Entry {
    let mut name = path.as_os_str().as_bytes().to_vec();
    if kind == EntryKind::Directory {
        name.push(b'/');
    }
    Entry {
        path: name,
        kind,
        link: Vec::new(),
        len: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        device: (major(stat.st_rdev), minor(stat.st_rdev)),
        xattrs: Vec::new(),
    }
}

/// Takes overlayfs' own attributes out. Whether the directory is opaque; fails on what a tar layer cannot say.
fn take_overlay_notes(entry: &mut Entry) -> io::Result<bool> {
    let value = |key: &str| entry.xattrs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_slice());
    for key in ["trusted.overlay.redirect", "trusted.overlay.metacopy"] {
        if value(key).is_some() {
            let text = format!("{key} is set: mount the overlay with redirect_dir=off,metacopy=off to commit it");
            return Err(io::Error::other(text));
        }
    }
    let opaque = value(OPAQUE_XATTR) == Some(b"y");
    entry.xattrs.retain(|(key, _)| !key.starts_with("trusted.overlay."));
    Ok(opaque)
}

fn xattrs(dir: &OwnedFd, name: &OsStr) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    path.push(name);
    let mut names = vec![0; NAMES_LEN];
    let len = match rustix::fs::llistxattr(&path, &mut names) {
        Err(Errno::RANGE) => {
            names = vec![0; XATTR_MAX_LEN];
            rustix::fs::llistxattr(&path, &mut names)?
        }
        Err(Errno::NOTSUP | Errno::NOENT) => return Ok(Vec::new()),
        found => found?,
    };
    let mut found = Vec::new();
    for key in names[..len].split(|&b| b == 0).filter(|key| !key.is_empty()) {
        let Ok(key) = std::str::from_utf8(key) else {
            continue;
        };
        let mut value = vec![0; XATTR_MAX_LEN];
        match rustix::fs::lgetxattr(&path, key, &mut value) {
            Err(Errno::NODATA | Errno::NOENT) => continue,
            found => value.truncate(found?),
        }
        found.push((key.to_owned(), value));
    }
    found.sort();
    Ok(found)
}
