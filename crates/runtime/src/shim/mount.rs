//! The shim's own mount namespace and the container's root filesystem in it. Whatever is mounted here disappears
//! with the shim; nothing reaches the host.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::CWD,
    mount::{
        MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
        mount_change, move_mount, open_tree, unmount,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::{
    mountinfo,
    rootfs::overlay::{OverlayError, overlay_options},
    shim::launch::{Filesystem, Rootfs, State, file},
};

/// The root filesystem could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The shim could not get a mount namespace of its own.
    #[error("cannot make a private mount namespace (is CAP_SYS_ADMIN missing?)")]
    Namespace(#[source] io::Error),
    /// See the message.
    #[error("cannot mount the root filesystem at {}", target.display())]
    Root {
        /// Where.
        target: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// See the message.
    #[error("cannot share /dev/shm of process {pid}")]
    Shm {
        /// Whose.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// See the message.
    #[error("error while mounting volume '{volume}': cannot mount {device} as {kind} with the options {options:?}")]
    Volume {
        /// Its name.
        volume: String,
        /// What.
        device: String,
        /// The file system.
        kind: String,
        /// As they were given.
        options: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the layers.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
}

/// Leaves the host's mount namespace. Mounts made under `dir` from now on stay invisible to the host, while the
/// host's other mounts keep their propagation, so that `rshared` bind mounts of a container still reach the host.
pub fn enter_private_namespace(dir: &Path) -> Result<(), MountError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|e| MountError::Namespace(e.into()))?;
    let holder = mountinfo::holder(dir).map_err(MountError::Namespace)?.point;
    // A new mount is propagated to the peers of the mount it is made in, so that one, and only that one, must follow
    // the host without answering back.
    mount_change(&holder, MountPropagationFlags::DOWNSTREAM).map_err(|e| MountError::Namespace(e.into()))
}

/// Mounts `rootfs` at `target`, which is created.
pub fn mount_root(rootfs: &Rootfs, target: &Path) -> Result<(), MountError> {
    let root_error = |source: io::Error| MountError::Root { target: target.to_owned(), source };
    fs::create_dir_all(target).map_err(root_error)?;
    match rootfs {
        Rootfs::Directory(path) => mount_bind(path, target).map_err(|e| root_error(e.into())),
        Rootfs::Overlay { lower, upper, work } => {
            let options = overlay_options(lower, Some((upper, work)))?;
            mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))
                .map_err(|e| OverlayError::refused(e.into(), upper).into())
        }
    }
}

/// Mounts the `/dev/shm` that process `pid` sees at `target`, which is created.
///
/// A path through `/proc/PID/root` would not do: the kernel refuses to bind what is in another mount namespace, open_tree(2). So
/// the mount is copied from within that namespace, and this process, which has one thread, returns with the copy.
pub fn mount_shm_of(pid: u32, target: &Path) -> Result<(), MountError> {
    fs::create_dir_all(target)
        .and_then(|()| shm_of(pid))
        .and_then(|shm| Ok(move_mount(shm, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?))
        .map_err(|source| MountError::Shm { pid, source })
}

/// Mounts the file system of a volume below `dir`, the run directory of a container: the very mount that another container has,
/// so that what one writes the other reads, or a new one.
pub fn mount_filesystem(wish: &Filesystem, dir: &Path) -> Result<(), MountError> {
    let target = dir.join(file::VOLUMES).join(&wish.volume);
    let refused = |source: io::Error| MountError::Volume {
        volume: wish.volume.clone(),
        device: wish.device.clone(),
        kind: wish.kind.clone(),
        options: wish.options.join(","),
        source,
    };
    fs::create_dir_all(&target).map_err(refused)?;
    for other in &wish.mounted_by {
        let other = dir.with_file_name(other);
        // One that has just ended has let go of it.
        let Ok(shim) = State::read(&other).map(|state| state.shim) else { continue };
        let place = other.join(file::VOLUMES).join(&wish.volume);
        let shared = copy_mount(shim.pid, &place).and_then(|mount| {
            if !shim.lives() {
                return Err(io::ErrorKind::NotFound.into());
            }
            Ok(move_mount(mount, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
        });
        if shared.is_ok() {
            return Ok(());
        }
    }
    let (flags, data) = mount_options(&wish.options);
    let data = CString::new(data).map_err(|error| refused(error.into()))?;
    let mounted = mount(wish.device.as_str(), &target, wish.kind.as_str(), flags, Some(data.as_c_str()));
    mounted.map_err(|errno| refused(errno.into()))
}

/// The options of mount(8) that are flags of mount(2), and the rest for the file system.
fn mount_options(options: &[String]) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" => flags -= MountFlags::RDONLY,
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "sync" => flags |= MountFlags::SYNCHRONOUS,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            "noatime" => flags |= MountFlags::NOATIME,
            "nodiratime" => flags |= MountFlags::NODIRATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "lazytime" => flags |= MountFlags::LAZYTIME,
            "silent" => flags |= MountFlags::SILENT,
            "defaults" | "suid" | "dev" | "exec" | "async" | "atime" | "diratime" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

fn shm_of(pid: u32) -> io::Result<OwnedFd> {
    copy_mount(pid, Path::new("/dev/shm"))
}

/// A copy of the mount that a process has there, in no namespace yet.
fn copy_mount(pid: u32, path: &Path) -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/mnt")?;
    let working = std::env::current_dir()?;
    let theirs = File::open(format!("/proc/{pid}/ns/mnt"))?;
    let enter = |namespace: &File| move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount));
    enter(&theirs)?;
    let copied = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    enter(&own)?;
    std::env::set_current_dir(working)?;
    Ok(copied?)
}

/// Detaches the root filesystem, so that its layers can be used again at once.
pub fn unmount_root(target: &Path) {
    // Nothing is lost when this fails: the namespace, and the mount with it, ends with the shim.
    let _ = unmount(target, UnmountFlags::DETACH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_flags_or_data() {
        let options = ["ro", "size=10m", "nosuid", "rw", "uid=7"].map(str::to_owned);
        assert_eq!(mount_options(&options), (MountFlags::NOSUID, "size=10m,uid=7".to_owned()));
    }
}
