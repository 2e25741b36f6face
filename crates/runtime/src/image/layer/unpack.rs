//! A layer's tar stream becomes an overlayfs directory.
//!
//! Every path is resolved with openat2(2) inside the layer's own directory, so neither `..`, absolute paths nor
//! symlinks planted by earlier entries lead out. Whiteouts become what overlayfs knows: 0:0 character devices and
//! the opaque attribute.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, makedev};
use rustix::io::Errno;

use super::recipe::{self, RecipeWriter, Replaced};
use super::tar_reader::{Entry, EntryKind, TarReader};
use super::{DIFF, OPAQUE_XATTR, WHITEOUT_META_PREFIX, WHITEOUT_OPAQUE, WHITEOUT_PREFIX};
use crate::image::digest::{DiffId, Hashing};
use crate::image::error::{ImageError, LayerError, io_error};

/// What came out of a stream.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) diff_id: DiffId,
    /// Bytes of all files.
    pub(crate) size: u64,
    pub(crate) entries: u64,
    /// Length of the stream.
    pub(crate) tar_len: u64,
    pub(crate) replaced: Vec<Replaced>,
}

/// Unpacks an uncompressed tar stream into `dir`, which must be empty: `dir/diff` and the recipe. Reads the stream
/// to its end, because the digest is over all of it. On error the caller removes `dir`.
pub(crate) fn unpack(stream: impl Read, dir: &Path) -> Result<Unpacked, ImageError> {
    for name in [DIFF, recipe::KEPT] {
        let path = dir.join(name);
        std::fs::create_dir(&path).map_err(io_error("create", &path))?;
    }
    let recipe_path = dir.join(recipe::FILE_NAME);
    let recipe = RecipeWriter::create(&recipe_path).map_err(io_error("create", &recipe_path))?;
    let mut tree = Tree::open(dir)?;
    let mut tar = TarReader::new(Hashing::new(stream), Some(recipe));
    let (mut size, mut entries) = (0, 0);
    while let Some(entry) = tar.next_entry()? {
        tree.add(&entry, &mut tar)?;
        size += entry.len;
        entries += 1;
    }
    tree.restore_directory_times()?;
    let (stream, recipe) = tar.finish();
    if let Some(recipe) = recipe {
        recipe.finish().map_err(io_error("write", &recipe_path))?;
    }
    let hasher = stream.into_inner().1;
    let (tar_len, replaced) = (hasher.len(), tree.replaced);
    Ok(Unpacked { diff_id: hasher.finish(), size, entries, tar_len, replaced })
}

/// The directory being filled.
struct Tree {
    root: OwnedFd,
    kept: OwnedFd,
    /// Entries of one directory follow each other; the last one is kept open.
    parent: Option<Parent>,
    replaced: Vec<Replaced>,
    /// Set last: each entry that is added changes the time of its directory.
    directory_times: Vec<(PathBuf, i64)>,
    payloads: u64,
}

#[derive(Clone)]
struct Parent {
    /// As the archive names it.
    asked: PathBuf,
    /// Where that is, symlinks followed.
    real: PathBuf,
    fd: std::sync::Arc<OwnedFd>,
}

impl Tree {
    fn open(dir: &Path) -> Result<Tree, ImageError> {
        let open = |name: &str| {
            let path = dir.join(name);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|e| io_error("open", &path)(e.into()))
        };
        Ok(Tree {
            root: open(DIFF)?,
            kept: open(recipe::KEPT)?,
            parent: None,
            replaced: Vec::new(),
            directory_times: Vec::new(),
            payloads: 0,
        })
    }

    fn add<R: Read>(&mut self, entry: &Entry, tar: &mut TarReader<R>) -> Result<(), LayerError> {
        let path = clean(&entry.path).map_err(|reason| refused(entry, reason))?;
        let Some(name) = path.file_name() else {
            return self.root_entry(entry);
        };
        let parent = self.parent(path.parent().unwrap_or(Path::new(""))).map_err(|e| failed(entry, e))?;
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX) {
            return self.whiteout(entry, &parent, name, OsStr::from_bytes(hidden));
        }
        match entry.kind {
            EntryKind::Directory => self.directory(entry, &parent, name),
            EntryKind::File => self.file(entry, &parent, name, tar),
            EntryKind::HardLink => self.hard_link(entry, &parent, name),
            _ => self.special(entry, &parent, name),
        }
    }

    fn root_entry(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if entry.kind != EntryKind::Directory {
            return Err(refused(entry, "only a directory can be the root"));
        }
        let fd = rustix::fs::openat(&self.root, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| failed(entry, e.into()))?;
        own_fd(&fd, entry).map_err(|e| failed(entry, e))?;
        self.directory_times.push((PathBuf::new(), entry.mtime));
        Ok(())
    }

    fn whiteout(&mut self, entry: &Entry, parent: &Parent, name: &OsStr, hidden: &OsStr) -> Result<(), LayerError> {
        if name.as_bytes() == WHITEOUT_OPAQUE {
            let path = format!("/proc/self/fd/{}", parent.fd.as_raw_fd());
            return rustix::fs::setxattr(path, OPAQUE_XATTR, b"y", XattrFlags::empty())
                .map_err(|e| failed(entry, e.into()));
        }
        if name.as_bytes().starts_with(WHITEOUT_META_PREFIX) {
            return Ok(());
        }
        if matches!(hidden.as_bytes(), b"" | b"." | b"..") {
            return Err(refused(entry, "a whiteout must name an entry of its own directory"));
        }
        self.make_room(parent, hidden).map_err(|e| failed(entry, e))?;
        rustix::fs::mknodat(&*parent.fd, hidden, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))
            .map_err(|e| failed(entry, e.into()))
    }

    fn directory(&mut self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        let open = || {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&*parent.fd, name, flags, Mode::empty())
        };
        let make = || -> io::Result<OwnedFd> {
            rustix::fs::mkdirat(&*parent.fd, name, Mode::from_raw_mode(0o755))?;
            Ok(open()?)
        };
        let fd = match open() {
            Ok(fd) => Ok(fd),
            Err(Errno::NOENT) => make(),
            Err(Errno::NOTDIR | Errno::LOOP) => self.make_room(parent, name).and_then(|()| make()),
            Err(error) => Err(error.into()),
        };
        fd.and_then(|fd| own_fd(&fd, entry)).map_err(|e| failed(entry, e))?;
        self.directory_times.push((parent.real.join(name), entry.mtime));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &Entry,
        parent: &Parent,
        name: &OsStr,
        tar: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        self.make_room(parent, name).map_err(|e| failed(entry, e))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*parent.fd, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| failed(entry, e.into()))?;
        let mut file = File::from(fd);
        tar.copy_payload(&mut file, parent.real.join(name).as_os_str().as_bytes())?;
        self.payloads += 1;
        own_fd(&file, entry)
            .and_then(|()| Ok(rustix::fs::futimens(&file, &times(entry.mtime))?))
            .map_err(|e| failed(entry, e))
    }

    fn hard_link(&mut self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        let target = clean(&entry.link).map_err(|reason| refused(entry, reason))?;
        let Some(target_name) = target.file_name() else {
            return Err(refused(entry, "a hard link needs a target"));
        };
        let source =
            self.open_dir(target.parent().unwrap_or(Path::new(""))).map_err(|e| failed_link(entry, e.into()))?;
        self.make_room(parent, name).map_err(|e| failed(entry, e))?;
        rustix::fs::linkat(&source, target_name, &*parent.fd, name, AtFlags::empty())
            .map_err(|e| failed_link(entry, e.into()))
    }

    /// Symlinks, devices and pipes: made by name, so their attributes are set by name.
    fn special(&mut self, entry: &Entry, parent: &Parent, name: &OsStr) -> Result<(), LayerError> {
        let make = || -> io::Result<()> {
            let device = makedev(entry.device.0, entry.device.1);
            let mode = Mode::from_raw_mode(entry.mode);
            let file_type = match entry.kind {
                EntryKind::CharDevice => FileType::CharacterDevice,
                EntryKind::BlockDevice => FileType::BlockDevice,
                EntryKind::Fifo => FileType::Fifo,
                _ => {
                    return Ok(rustix::fs::symlinkat(OsStr::from_bytes(&entry.link), &*parent.fd, name)?);
                }
            };
            Ok(rustix::fs::mknodat(&*parent.fd, name, file_type, mode, device)?)
        };
        let finish = || -> io::Result<()> {
            rustix::fs::chownat(&*parent.fd, name, uid(entry), gid(entry), AtFlags::SYMLINK_NOFOLLOW)?;
            set_xattrs(entry, |key, value| {
                let mut path = PathBuf::from(format!("/proc/self/fd/{}", parent.fd.as_raw_fd()));
                path.push(name);
                rustix::fs::lsetxattr(path, key, value, XattrFlags::empty())
            })?;
            if entry.kind != EntryKind::Symlink {
                // The umask took bits away in mknodat. The name is no symlink: it was made just above.
                rustix::fs::chmodat(&*parent.fd, name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
            }
            Ok(rustix::fs::utimensat(&*parent.fd, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
        };
        self.make_room(parent, name).and_then(|()| make()).and_then(|()| finish()).map_err(|e| failed(entry, e))
    }

    /// Moves away what stands at this name. It is not deleted: the recipe may still need its content.
    fn make_room(&mut self, parent: &Parent, name: &OsStr) -> io::Result<()> {
        match rustix::fs::statat(&*parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        let kept = self.replaced.len().to_string();
        rustix::fs::renameat(&*parent.fd, name, &self.kept, &kept)?;
        let path = parent.real.join(name);
        self.replaced.push(Replaced { payloads_before: self.payloads, path, kept });
        self.parent = None;
        Ok(())
    }

    /// The directory an entry goes into; made where the archive left it out.
    fn parent(&mut self, asked: &Path) -> io::Result<Parent> {
        if let Some(parent) = &self.parent
            && parent.asked == asked
        {
            return Ok(parent.clone());
        }
        let fd = match self.open_dir(asked) {
            Err(Errno::NOENT) => self.make_dirs(asked)?,
            found => found?,
        };
        let parent = Parent { asked: asked.to_owned(), real: self.real_path(&fd)?, fd: std::sync::Arc::new(fd) };
        self.parent = Some(parent.clone());
        Ok(parent)
    }

    fn make_dirs(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut dir = self.open_dir(Path::new(""))?;
        let mut so_far = PathBuf::new();
        for name in path {
            so_far.push(name);
            let next = match self.open_dir(&so_far) {
                Err(Errno::NOENT) => {
                    let mode = Mode::from_raw_mode(0o755);
                    rustix::fs::mkdirat(&dir, name, mode)?;
                    // Whatever our umask.
                    rustix::fs::chmodat(&dir, name, mode, AtFlags::empty())?;
                    self.open_dir(&so_far)
                }
                found => found,
            };
            dir = next?;
        }
        Ok(dir)
    }

    fn open_dir(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// Where an open directory is, seen from the root.
    fn real_path(&self, fd: &impl AsFd) -> io::Result<PathBuf> {
        let path_of = |fd: &dyn AsRawFd| std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let (root, path) = (path_of(&self.root)?, path_of(&fd.as_fd())?);
        path.strip_prefix(&root)
            .map(Path::to_owned)
            .map_err(|_| io::Error::other(format!("{} is not in the layer", path.display())))
    }

    fn restore_directory_times(&self) -> Result<(), ImageError> {
        for (path, mtime) in &self.directory_times {
            let name = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            // A later entry may have replaced the directory.
            if let Ok(fd) = rustix::fs::openat2(&self.root, name, flags, Mode::empty(), resolve) {
                rustix::fs::futimens(&fd, &times(*mtime)).map_err(|e| io_error("set the time of", path)(e.into()))?;
            }
        }
        Ok(())
    }
}

/// The path below the root: `.` and empty components dropped, `..` applied to the text. Leading slashes mean the
/// layer's root.
fn clean(path: &[u8]) -> Result<PathBuf, &'static str> {
    let mut cleaned: Vec<&[u8]> = Vec::new();
    for component in path.split(|&b| b == b'/') {
        match component {
            b"" | b"." => {}
            b".." if cleaned.pop().is_none() => return Err("the path leads out of the layer"),
            b".." => {}
            name if name.contains(&0) => return Err("the path holds a NUL byte"),
            name => cleaned.push(name),
        }
    }
    Ok(cleaned.iter().map(|name| OsStr::from_bytes(name)).collect())
}

/// Owner, attributes, mode: in this order, because changing the owner drops set-id bits and file capabilities.
fn own_fd(fd: &impl AsFd, entry: &Entry) -> io::Result<()> {
    rustix::fs::fchown(fd, uid(entry), gid(entry))?;
    set_xattrs(entry, |key, value| rustix::fs::fsetxattr(fd, key, value, XattrFlags::empty()))?;
    Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(entry.mode))?)
}

/// `trusted.*` is left out: those are instructions to overlayfs itself, and none of an archive's business. What the
/// filesystem does not know is left out too, except file capabilities: a program without them would fail later.
fn set_xattrs(entry: &Entry, set: impl Fn(&str, &[u8]) -> rustix::io::Result<()>) -> io::Result<()> {
    for (key, value) in entry.xattrs.iter().filter(|(key, _)| !key.starts_with("trusted.")) {
        match set(key, value) {
            Err(Errno::NOTSUP | Errno::PERM) if key != "security.capability" => {}
            done => done?,
        }
    }
    Ok(())
}

fn uid(entry: &Entry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &Entry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn shown(entry: &Entry) -> String {
    String::from_utf8_lossy(&entry.path).into_owned()
}

fn refused(entry: &Entry, reason: impl Into<String>) -> LayerError {
    LayerError::Entry { path: shown(entry), reason: reason.into() }
}

fn failed(entry: &Entry, source: io::Error) -> LayerError {
    LayerError::Io { what: shown(entry), source }
}

fn failed_link(entry: &Entry, source: io::Error) -> LayerError {
    let what = format!("{}: hard link to {}", shown(entry), String::from_utf8_lossy(&entry.link));
    LayerError::Io { what, source }
}
