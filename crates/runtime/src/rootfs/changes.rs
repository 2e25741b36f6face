//! What a container has changed in its image, read from the writable layer: overlayfs keeps there what was added or
//! changed, and a whiteout for what was deleted.
//!
//! Source: the kernel's `Documentation/filesystems/overlayfs.rst`.

use std::{
    fs::{self, Metadata},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::fs::lgetxattr;

/// One path that differs from the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It, or something below it, has changed.
    Changed,
    /// The image does not have it.
    Added,
    /// Only the image has it.
    Deleted,
}

/// What every start makes as mount points: not the container's doing.
const MOUNT_POINTS: [&str; 12] = [
    "/.dockerenv",
    "/dev",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/proc",
    "/sbin/docker-init",
    "/sys",
    "/dev/console",
    "/dev/pts",
    "/dev/shm",
];

/// All changes in `upper` against `lower` (topmost first), sorted by path.
pub fn changes(lower: &[PathBuf], upper: &Path) -> io::Result<Vec<Change>> {
    let mut found = Vec::new();
    walk(lower, upper, Path::new(""), &mut found)?;
    found.sort_unstable();
    Ok(found)
}

/// Collects the changes below a directory.
fn walk(lower: &[PathBuf], upper: &Path, relative: &Path, found: &mut Vec<Change>) -> io::Result<()> {
    for entry in fs::read_dir(upper.join(relative))? {
        let entry = entry?;
        let relative = relative.join(entry.file_name());
        let path = Path::new("/").join(&relative);
        let below = lookup(lower, &relative);
        if below.is_none() && is_mount_point(&path) {
            continue;
        }
        let metadata = fs::symlink_metadata(entry.path())?;
        if is_whiteout(&metadata) {
            if below.is_some() {
                found.push(Change { path, kind: ChangeKind::Deleted });
            }
            continue;
        }
        let before = found.len();
        if metadata.is_dir() {
            walk(lower, upper, &relative, found)?;
            if is_opaque(&entry.path()) && below.as_ref().is_some_and(Metadata::is_dir) {
                hidden(lower, upper, &relative, found)?;
            }
        }
        let kind = match below {
            None => Some(ChangeKind::Added),
            // A directory that was only passed through on the way to a change says nothing of its own.
            Some(below) if metadata.is_dir() && below.is_dir() => {
                // Mount points that were made in it gave it a new time.
                let timed = !holds_mount_points(&entry.path(), &path);
                let changed = found.len() > before || differs(&metadata, &below, timed);
                changed.then_some(ChangeKind::Changed)
            }
            Some(_) => Some(ChangeKind::Changed),
        };
        found.extend(kind.map(|kind| Change { path, kind }));
    }
    Ok(())
}

/// What an opaque directory hides of the image's, first level.
fn hidden(lower: &[PathBuf], upper: &Path, relative: &Path, found: &mut Vec<Change>) -> io::Result<()> {
    for layer in lower {
        let Ok(entries) = fs::read_dir(layer.join(relative)) else { continue };
        for entry in entries {
            let relative = relative.join(entry?.file_name());
            let change = Change { path: Path::new("/").join(&relative), kind: ChangeKind::Deleted };
            let covered = fs::symlink_metadata(upper.join(&relative)).is_ok();
            if !covered && lookup(lower, &relative).is_some() && !found.contains(&change) {
                found.push(change);
            }
        }
    }
    Ok(())
}

fn is_mount_point(path: &Path) -> bool {
    MOUNT_POINTS.iter().any(|point| path == Path::new(point))
}

fn holds_mount_points(upper: &Path, path: &Path) -> bool {
    let entries = fs::read_dir(upper).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| is_mount_point(&path.join(entry.file_name())))
}

fn differs(one: &Metadata, other: &Metadata, timed: bool) -> bool {
    let owned = |metadata: &Metadata| (metadata.mode(), metadata.uid(), metadata.gid());
    let time = |metadata: &Metadata| (metadata.mtime(), metadata.mtime_nsec());
    owned(one) != owned(other) || timed && time(one) != time(other)
}

/// What the image has at a path.
fn lookup(lower: &[PathBuf], relative: &Path) -> Option<Metadata> {
    for layer in lower {
        if let Ok(metadata) = fs::symlink_metadata(layer.join(relative)) {
            return (!is_whiteout(&metadata)).then_some(metadata);
        }
        let ends_here = relative.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).any(|above| {
            let above = layer.join(above);
            fs::symlink_metadata(&above).is_ok_and(|metadata| !metadata.is_dir() || is_opaque(&above))
        });
        if ends_here {
            return None;
        }
    }
    None
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

fn is_opaque(path: &Path) -> bool {
    let mut value = [0u8; 2];
    lgetxattr(path, "trusted.overlay.opaque", &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}
