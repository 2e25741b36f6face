//! What the containers of one sandbox share besides its network: the IPC and UTS namespaces, and what is in `/dev/shm`. They are kept
//! in files, so that they last whichever of the containers live, and no process is needed to hold them (namespaces(7)). Only where
//! they share their processes too, somebody has to be the first of these: [`reaper`].

pub mod reaper;

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use rustix::{fs::FsWord, mount::UnmountFlags};

/// The type of a file system of namespaces (statfs(2)).
const NSFS_MAGIC: FsWord = 0x6e73_6673;
/// Everybody may write, and remove what is their own.
const SHARED_MEMORY_MODE: u32 = 0o1777;

/// The file of the IPC namespace in a sandbox's directory.
pub fn ipc(dir: &Path) -> PathBuf {
    dir.join("ipc")
}

/// The file of the UTS namespace in a sandbox's directory.
pub fn uts(dir: &Path) -> PathBuf {
    dir.join("uts")
}

/// The directory that is `/dev/shm` in all containers of a sandbox.
pub fn shm(dir: &Path) -> PathBuf {
    dir.join("shm")
}

/// Makes what is shared, unless it is there.
pub fn keep(dir: &Path, hostname: &str) -> io::Result<()> {
    if is_namespace(&ipc(dir)) && is_namespace(&uts(dir)) && shm(dir).is_dir() {
        return Ok(());
    }
    release(dir)?;
    DirBuilder::new().recursive(true).mode(0o711).create(dir)?;
    fs::create_dir(shm(dir))?;
    fs::set_permissions(shm(dir), Permissions::from_mode(SHARED_MEMORY_MODE))?;
    for file in [ipc(dir), uts(dir)] {
        File::create_new(file)?;
    }
    let made = thread::scope(|scope| scope.spawn(|| in_new_namespaces(dir, hostname)).join());
    // The thread does not panic.
    made.unwrap_or_else(|_| Err(io::Error::other("the thread that makes namespaces died")))
}

/// Lets go of what is shared. The kernel takes the namespaces apart when no process is in them any more.
pub fn release(dir: &Path) -> io::Result<()> {
    reaper::release(dir)?;
    for file in [ipc(dir), uts(dir)] {
        // Whatever is no mount, or is not there, is let go of already.
        let _ = rustix::mount::unmount(&file, UnmountFlags::DETACH);
    }
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs in a thread of its own, which ends with it: the namespaces are that thread's alone.
fn in_new_namespaces(dir: &Path, hostname: &str) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS)?;
    rustix::system::sethostname(hostname.as_bytes())?;
    rustix::mount::mount_bind("/proc/thread-self/ns/ipc", ipc(dir))?;
    rustix::mount::mount_bind("/proc/thread-self/ns/uts", uts(dir))?;
    Ok(())
}

fn is_namespace(file: &Path) -> bool {
    rustix::fs::statfs(file).is_ok_and(|fs| fs.f_type == NSFS_MAGIC)
}
