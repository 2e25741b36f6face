//! A tree, or a part of it, as a tar archive: types, owners, times, hard links, devices and file capabilities.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, major, minor, openat2, readlinkat, statat,
    },
    io::Errno,
};
use tar::{Builder, EntryType, Header};

/// The attribute that makes `ping` work for everybody, and the only one that tools expect in such archives.
const CAPABILITY: &str = "security.capability";

/// What becomes of filesystems that are mounted in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mounts {
    /// They belong to it.
    Follow,
    /// Their mount points are empty.
    LeaveOut,
}

/// What a header holds of a link's target.
const LINK_BYTES: usize = 100;

struct Packer<W: Write> {
    builder: Builder<W>,
    mounts: Mounts,
    /// Where a file with several names was put first.
    links: HashMap<(u64, u64), PathBuf>,
}

/// Packs `name` in `directory`, and all below it, as `path`.
pub(super) fn entry(directory: &OwnedFd, name: &Path, path: &Path, mounts: Mounts, out: impl Write) -> io::Result<()> {
    let mut packer = Packer::new(mounts, out);
    packer.add(directory, name, path)?;
    packer.finish()
}

/// Packs what is in `directory`, without itself.
pub(super) fn tree(directory: &OwnedFd, mounts: Mounts, out: impl Write) -> io::Result<()> {
    let mut packer = Packer::new(mounts, out);
    let directory = packer.open(directory, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY)?;
    packer.add_children(&directory, Path::new(""))?;
    packer.finish()
}

impl<W: Write> Packer<W> {
    fn new(mounts: Mounts, out: W) -> Self {
        Self { builder: Builder::new(out), mounts, links: HashMap::new() }
    }

    fn finish(mut self) -> io::Result<()> {
        self.builder.finish()
    }

    fn add(&mut self, directory: &OwnedFd, name: &Path, path: &Path) -> io::Result<()> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It has gone since its directory was read.
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let mut header = header(&stat);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                header.set_entry_type(EntryType::Link);
                let first = first.clone();
                return self.append_link(header, path, &first);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        match kind {
            FileType::Directory => self.add_directory(directory, name, path, header),
            FileType::RegularFile => self.add_file(directory, name, path, header),
            FileType::Symlink => {
                header.set_entry_type(EntryType::Symlink);
                let target = readlinkat(directory, name, Vec::new())?;
                self.append_link(header, path, Path::new(&OsString::from_vec(target.into_bytes())))
            }
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
                header.set_entry_type(match kind {
                    FileType::CharacterDevice => EntryType::Char,
                    FileType::BlockDevice => EntryType::Block,
                    _ => EntryType::Fifo,
                });
                header.set_device_major(major(stat.st_rdev))?;
                header.set_device_minor(minor(stat.st_rdev))?;
                self.append(header, path, io::empty())
            }
            // A socket means nothing without its process.
            _ => Ok(()),
        }
    }

    fn add_directory(&mut self, above: &OwnedFd, name: &Path, path: &Path, mut header: Header) -> io::Result<()> {
        header.set_entry_type(EntryType::Directory);
        let mut slashed = path.as_os_str().to_owned();
        slashed.push("/");
        self.append(header, Path::new(&slashed), io::empty())?;
        match self.open(above, name, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::XDEV | Errno::NOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
            Ok(directory) => self.add_children(&directory, path),
        }
    }

    fn add_children(&mut self, directory: &OwnedFd, path: &Path) -> io::Result<()> {
        let mut names: Vec<OsString> = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = OsString::from_vec(entry?.file_name().to_bytes().to_vec());
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.iter().try_for_each(|name| self.add(directory, Path::new(name), &path.join(name)))
    }

    fn add_file(&mut self, directory: &OwnedFd, name: &Path, path: &Path, mut header: Header) -> io::Result<()> {
        header.set_entry_type(EntryType::Regular);
        let file = match self.open(directory, name, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::XDEV) => {
                header.set_size(0);
                return self.append(header, path, io::empty());
            }
            other => File::from(other?),
        };
        let mut capability = [0u8; 64];
        if let Ok(length) = fgetxattr(&file, CAPABILITY, &mut capability[..]) {
            let key = format!("SCHILY.xattr.{CAPABILITY}");
            self.builder.append_pax_extensions([(key.as_str(), &capability[..length])])?;
        }
        let size = file.metadata()?.len();
        header.set_size(size);
        // A file that shrinks meanwhile must still fill its place, or all that follows is garbage.
        self.append(header, path, file.take(size).chain(io::repeat(0)).take(size))
    }

    fn append_link(&mut self, mut header: Header, path: &Path, target: &Path) -> io::Result<()> {
        if !is_literal(&header, path) || target.as_os_str().len() > LINK_BYTES {
            return self.builder.append_link(&mut header, path, target);
        }
        header.set_link_name_literal(target.as_os_str().as_bytes())?;
        self.append(header, path, io::empty())
    }

    /// Appends under this very name: the library would drop `./`, by which clients know what to rename.
    fn append(&mut self, mut header: Header, path: &Path, data: impl Read) -> io::Result<()> {
        if !is_literal(&header, path) {
            return self.builder.append_data(&mut header, path, data);
        }
        let name = path.as_os_str().as_bytes();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_cksum();
        self.builder.append(&header, data)
    }

    fn open(&self, directory: &OwnedFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        resolve.set(ResolveFlags::NO_XDEV, self.mounts == Mounts::LeaveOut);
        openat2(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)
    }
}

/// Whether a name begins with `./` and fits; where it does not fit the library keeps it as it is.
fn is_literal(header: &Header, path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    name.starts_with(b"./") && name.len() <= header.as_old().name.len()
}

fn header(stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}
