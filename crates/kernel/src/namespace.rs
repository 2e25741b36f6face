//! The files `RUN/netns/NAME` that keep our network namespaces: each is a bind mount of the namespace (namespaces(7)).

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FsWord, StatxAttributes, StatxFlags},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags},
};

use crate::{fault::Refusal, socket::in_new_namespace};

/// The calling thread's own network namespace.
pub(crate) const OWN: &str = "/proc/thread-self/ns/net";

/// The type of a file system of namespaces (statfs(2)).
const NSFS_MAGIC: FsWord = 0x6e73_6673;

/// The directory of namespace files below the run directory.
pub fn directory(run_dir: &Path) -> PathBuf {
    run_dir.join("netns")
}

/// The file of a namespace.
pub fn path(run_dir: &Path, name: &str) -> PathBuf {
    directory(run_dir).join(OsStr::from_bytes(name.as_bytes()))
}

/// Refuses names that are not file names.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name == "." || name == ".." || name.len() > 255 || name.contains(['/', '\0']) {
        return Err(Refusal::new(libc::EINVAL).because(format!("{name:?} is not a file name")));
    }
    Ok(())
}

/// Makes a namespace, keeps it in the file `NAME`, and runs `inside` in it first. A file of an earlier boot is replaced; `None` says
/// that the namespace is already there.
pub(crate) fn create<T: Send>(
    run_dir: &Path,
    name: &str,
    inside: impl FnOnce() -> Result<T, Refusal> + Send,
) -> Result<Option<T>, Refusal> {
    check_name(name)?;
    let file = path(run_dir, name);
    if is_namespace(&file) {
        return Ok(None);
    }
    share(&directory(run_dir))?;
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    File::create_new(&file)?;
    let made = in_new_namespace(|| {
        let value = inside()?;
        rustix::mount::mount_bind(OWN, &file)?;
        Ok(value)
    });
    match made.unwrap_or_else(|error| Err(error.into())) {
        Ok(value) => Ok(Some(value)),
        Err(refusal) => {
            let _ = fs::remove_file(&file);
            Err(refusal)
        }
    }
}

/// Lets go of a namespace. The kernel takes it and its links apart soon after, once no process and no socket is in it.
pub(crate) fn delete(run_dir: &Path, name: &str) -> Result<(), Refusal> {
    check_name(name)?;
    let file = path(run_dir, name);
    match rustix::mount::unmount(&file, UnmountFlags::DETACH) {
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
        Err(errno) => return Err(errno.into()),
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    unshare_if_empty(&directory(run_dir));
    Ok(())
}

/// The names of the namespaces that are kept.
pub(crate) fn list(run_dir: &Path) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(directory(run_dir)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && is_namespace(&entry.path())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Removes files that keep no namespace: of an earlier boot, or of somebody who died between making the file and mounting it, or between
/// unmounting and removing it. Nobody may be making namespaces meanwhile.
pub fn sweep(run_dir: &Path) -> io::Result<()> {
    let directory = directory(run_dir);
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let file = entry?.path();
        if !is_namespace(&file) {
            fs::remove_file(&file)?;
        }
    }
    unshare_if_empty(&directory);
    Ok(())
}

/// Whether two namespace files stand for one namespace.
pub(crate) fn same(a: &File, b: &File) -> io::Result<bool> {
    let (a, b) = (a.metadata()?, b.metadata()?);
    Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

fn is_namespace(file: &Path) -> bool {
    rustix::fs::statfs(file).is_ok_and(|fs| fs.f_type == NSFS_MAGIC)
}

/// Makes the directory a shared mount of its own, so that a namespace let go of here is also let go of in every mount namespace that was
/// copied from ours (mount_namespaces(7)).
fn share(directory: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(directory)?;
    if is_mount(directory) {
        return Ok(());
    }
    rustix::mount::mount_bind(directory, directory)?;
    rustix::mount::mount_change(directory, MountPropagationFlags::SHARED)?;
    Ok(())
}

/// The last namespace takes the mount with it: an uninstall leaves nothing.
fn unshare_if_empty(directory: &Path) {
    let empty = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    if empty && is_mount(directory) {
        // It stays mounted while somebody works in it, which does no harm.
        let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
    }
}

fn is_mount(directory: &Path) -> bool {
    rustix::fs::statx(CWD, directory, rustix::fs::AtFlags::empty(), StatxFlags::empty())
        .is_ok_and(|s| s.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
