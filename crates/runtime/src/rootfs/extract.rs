//! A tar archive into a directory of a tree, as `docker cp` does it. The archive is not trusted.

use std::{
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
        fchmod, fsetxattr, linkat, makedev, mkdirat, mknodat, openat, statat, symlinkat, unlinkat, utimensat,
    },
    io::Errno,
};
use tar::{Archive, Entry, EntryType};

use super::{FilesError, tree::Root};

/// How an archive is extracted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutWish {
    /// Refuse to put a directory in the place of a file, or the other way round.
    pub keep_types: bool,
    /// Give everything to this user and group instead of those in the archive.
    pub owner: Option<(u32, u32)>,
}

struct Extraction<'a> {
    root: &'a Root,
    base: &'a Path,
    wish: PutWish,
    /// Directories get their times last: what is put in them changes those.
    directories: Vec<(PathBuf, u64)>,
}

pub(super) fn extract(root: &Root, base: &Path, archive: impl Read, wish: PutWish) -> Result<(), FilesError> {
    let mut extraction = Extraction { root, base, wish, directories: Vec::new() };
    let mut archive = Archive::new(archive);
    let unreadable = |source| FilesError::Io { action: "read the archive for", path: base.to_owned(), source };
    for entry in archive.entries().map_err(unreadable)? {
        extraction.put(entry.map_err(unreadable)?)?;
    }
    // What pads the archive is read too: whoever writes it would see a broken pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
    extraction.finish();
    Ok(())
}

impl Extraction<'_> {
    fn put(&mut self, mut entry: Entry<'_, impl Read>) -> Result<(), FilesError> {
        let name = entry.path_bytes().into_owned();
        let Some(path) = self.inside(&name)? else { return Ok(()) };
        let failed = |source: io::Error| FilesError::Io { action: "extract", path: path.clone(), source };
        let above = path.parent().unwrap_or(Path::new("/"));
        self.root.make_directories(above).map_err(failed)?;
        let (directory, name) = self.root.parent(&path).map_err(failed)?;
        let Some(name) = name else { return Ok(()) };
        let kind = entry.header().entry_type();
        self.clear(&directory, &name, kind, &path)?;
        self.make(&mut entry, &directory, &name, &path).map_err(failed)
    }

    /// Where an entry goes; none for the directory itself.
    fn inside(&self, name: &[u8]) -> Result<Option<PathBuf>, FilesError> {
        let path = Path::new(std::ffi::OsStr::from_bytes(name));
        if path.components().any(|component| component == Component::ParentDir) {
            return Err(FilesError::Breakout(String::from_utf8_lossy(name).into_owned()));
        }
        let relative: PathBuf =
            path.components().filter(|component| matches!(component, Component::Normal(_))).collect();
        Ok((!relative.as_os_str().is_empty()).then(|| self.base.join(relative)))
    }

    /// Makes room for an entry.
    fn clear(&self, directory: &OwnedFd, name: &Path, kind: EntryType, path: &Path) -> Result<(), FilesError> {
        let Ok(stat) = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(()) };
        let was_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let becomes_directory = kind == EntryType::Directory;
        let word = |directory: bool| if directory { "directory" } else { "non-directory" };
        if was_directory != becomes_directory && self.wish.keep_types {
            return Err(FilesError::Overwrite {
                path: path.to_owned(),
                was: word(was_directory),
                becomes: word(becomes_directory),
            });
        }
        let removed = match (was_directory, becomes_directory) {
            (true, true) => Ok(()),
            (true, false) => remove_tree(directory, name),
            (false, _) => unlinkat(directory, name, AtFlags::empty()),
        };
        removed.map_err(|errno| FilesError::Io { action: "replace", path: path.to_owned(), source: errno.into() })
    }

    fn make(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        directory: &OwnedFd,
        name: &Path,
        path: &Path,
    ) -> io::Result<()> {
        let header = entry.header().clone();
        let mode = Mode::from_raw_mode(header.mode()? & 0o7777);
        let modified = header.mtime().unwrap_or(0);
        match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(directory, name, flags, Mode::from_raw_mode(0o600))?);
                io::copy(entry, &mut file)?;
                self.own(&header, directory, name)?;
                // After the owner: changing that takes set-user-id away, and capabilities.
                fchmod(&file, mode)?;
                for (key, value) in attributes(entry) {
                    let _ = fsetxattr(&file, key.as_str(), &value, XattrFlags::empty());
                }
            }
            EntryType::Directory => {
                match mkdirat(directory, name, mode) {
                    Err(Errno::EXIST) => {}
                    other => other?,
                }
                self.own(&header, directory, name)?;
                chmodat(directory, name, mode, AtFlags::empty())?;
                self.directories.push((path.to_owned(), modified));
                return Ok(());
            }
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or(io::ErrorKind::InvalidData)?.into_owned();
                symlinkat(std::ffi::OsStr::from_bytes(&target), directory, name)?;
                self.own(&header, directory, name)?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or(io::ErrorKind::InvalidData)?.into_owned();
                let target = self.inside(&target).ok().flatten().ok_or(io::ErrorKind::InvalidData)?;
                let (from, Some(old)) = self.root.parent(&target)? else {
                    return Err(io::ErrorKind::InvalidData.into());
                };
                return Ok(linkat(&from, old, directory, name, AtFlags::empty())?);
            }
            kind @ (EntryType::Char | EntryType::Block | EntryType::Fifo) => {
                let kind = match kind {
                    EntryType::Char => FileType::CharacterDevice,
                    EntryType::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
                mknodat(directory, name, kind, mode, device)?;
                self.own(&header, directory, name)?;
            }
            // Other types carry no file.
            _ => return Ok(()),
        }
        set_modified(directory, name, modified)
    }

    fn own(&self, header: &tar::Header, directory: &OwnedFd, name: &Path) -> io::Result<()> {
        let number = |value: io::Result<u64>| value.ok().and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let (uid, gid) = self.wish.owner.unwrap_or_else(|| (number(header.uid()), number(header.gid())));
        Ok(chownat(directory, name, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn finish(self) {
        for (path, modified) in self.directories.iter().rev() {
            if let Ok((directory, Some(name))) = self.root.parent(path) {
                // A wrong time on a directory is not worth failing after everything is in place.
                let _ = set_modified(&directory, &name, *modified);
            }
        }
    }
}

fn attributes(entry: &mut Entry<'_, impl Read>) -> Vec<(String, Vec<u8>)> {
    let Ok(Some(extensions)) = entry.pax_extensions() else { return Vec::new() };
    let found = extensions.filter_map(Result::ok).filter_map(|extension| {
        let key = extension.key().ok()?.strip_prefix("SCHILY.xattr.")?;
        // trusted.* is how overlayfs keeps its own notes; an archive must not forge them.
        (key.starts_with("security.capability") || key.starts_with("user."))
            .then(|| (key.to_owned(), extension.value_bytes().to_vec()))
    });
    found.collect()
}

fn set_modified(directory: &OwnedFd, name: &Path, seconds: u64) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 },
    };
    Ok(utimensat(directory, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn remove_tree(above: &OwnedFd, name: &Path) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(above, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        let child = Path::new(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes()));
        if child == Path::new(".") || child == Path::new("..") {
            continue;
        }
        match unlinkat(&directory, child, AtFlags::empty()) {
            Err(Errno::ISDIR) => remove_tree(&directory, child)?,
            other => other?,
        }
    }
    unlinkat(above, name, AtFlags::REMOVEDIR)
}
