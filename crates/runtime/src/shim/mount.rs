//! The shim's own mount namespace and the container's root filesystem in it. Whatever is mounted here disappears
//! with the shim; nothing reaches the host.

use std::{
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
    shim::launch::Rootfs,
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

fn shm_of(pid: u32) -> io::Result<OwnedFd> {
    let own = File::open("/proc/self/ns/mnt")?;
    let working = std::env::current_dir()?;
    let theirs = File::open(format!("/proc/{pid}/ns/mnt"))?;
    let enter = |namespace: &File| move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount));
    enter(&theirs)?;
    let copied = open_tree(CWD, "/dev/shm", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    enter(&own)?;
    std::env::set_current_dir(working)?;
    Ok(copied?)
}

/// Detaches the root filesystem, so that its layers can be used again at once.
pub fn unmount_root(target: &Path) {
    // Nothing is lost when this fails: the namespace, and the mount with it, ends with the shim.
    let _ = unmount(target, UnmountFlags::DETACH);
}
