//! What is taken out of the sight of libcontainer: things in the shim's own mount namespace which it would read again and again, or use
//! in a slow way. The host's stay where they are.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, StatxFlags, statx},
    io::Errno,
    mount::{MountPropagationFlags, UnmountFlags, mount_change, mount_move, unmount},
};

use crate::{
    mountinfo,
    shim::{launch::file, mount::MountError},
};

/// Takes the directory that keeps the network namespaces out of this process's mount namespace, and says by which path the container's own
/// is still reached while the file that comes with it is open; none where all stays as it is.
///
/// Making a container reads the table of mounts some twenty times, and every container that runs has a line there.
pub fn namespaces(dir: &Path, own: &Path, sources: &[PathBuf]) -> Result<Option<(PathBuf, File)>, MountError> {
    let refused = |errno: Errno| MountError::Namespace(errno.into());
    let Some((kept, parent)) = own.parent().and_then(|kept| Some((kept, kept.parent()?))) else { return Ok(None) };
    // A container that is to see the directory, such as one that debugs the others, does.
    let shown = |source: &PathBuf| fs::canonicalize(source).is_ok_and(|s| kept.starts_with(&s) || s.starts_with(kept));
    let place = |path: &Path| statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID);
    let (outer, inner, shim) =
        (place(parent).map_err(refused)?, place(kept).map_err(refused)?, place(dir).map_err(refused)?);
    // Only a mount of its own can be taken away, and only from one that no longer answers to the host.
    if outer.stx_mnt_id == inner.stx_mnt_id || outer.stx_mnt_id != shim.stx_mnt_id || sources.iter().any(shown) {
        return Ok(None);
    }
    let file = File::open(own).map_err(MountError::Namespace)?;
    // Without this the host's would go with it.
    mount_change(kept, MountPropagationFlags::PRIVATE).map_err(refused)?;
    unmount(kept, UnmountFlags::DETACH).map_err(refused)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Ok(Some((path.into(), file)))
}

/// Moves the hierarchies of cgroup v1 below `dir`, the run directory of a container, to names by which libcontainer does not know them:
/// it moves a process that joins the container in the slow way, see [`Entrances`](crate::cgroup::Entrances).
pub fn hierarchies(dir: &Path) -> io::Result<()> {
    let below = dir.join(file::HIERARCHIES);
    let visible = mountinfo::of_kind("cgroup")?.into_iter().filter(|mount| !mount.point.starts_with(&below));
    for (number, mount) in visible.enumerate() {
        let (place, above) = (below.join(number.to_string()), mount.point.parent().unwrap_or(Path::new("/")));
        fs::create_dir_all(&place)?;
        // Without this the host's would go with it.
        mount_change(&mountinfo::holder(above)?.point, MountPropagationFlags::DOWNSTREAM)?;
        mount_move(&mount.point, &place)?;
    }
    Ok(())
}
