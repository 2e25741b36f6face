//! The few ways in which the store touches the disk.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::image::error::{ImageError, io_error};

/// `statfs` type of overlayfs (linux/magic.h).
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// A path below `tmp` that is removed when dropped, whatever became of it.
pub(crate) struct Temp {
    path: PathBuf,
}

impl Temp {
    /// A name nobody else has; nothing is created.
    pub(crate) fn new(root: &Path) -> Temp {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Temp { path: root.join("tmp").join(format!("{}-{number}", std::process::id())) }
    }

    /// The same as a directory.
    pub(crate) fn directory(root: &Path) -> Result<Temp, ImageError> {
        let temp = Temp::new(root);
        std::fs::create_dir(&temp.path).map_err(io_error("create", &temp.path))?;
        Ok(temp)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        // What cannot be removed now is removed on the next open.
        let _ = std::fs::remove_dir_all(&self.path).or_else(|_| std::fs::remove_file(&self.path));
    }
}

/// Makes the directories of a store where they are missing.
pub(crate) fn make_directories(data_root: &Path, root: &Path) -> Result<(), ImageError> {
    let make =
        |path: &Path, mode| DirBuilder::new().recursive(true).mode(mode).create(path).map_err(io_error("create", path));
    make(data_root, 0o711)?;
    let kind = rustix::fs::statfs(data_root).map_err(|e| io_error("examine", data_root)(e.into()))?.f_type;
    #[allow(clippy::unnecessary_cast, reason = "the width of f_type depends on the C library")]
    if kind as i64 == OVERLAYFS_MAGIC {
        return Err(ImageError::Invalid(format!(
            "the data root {} is on overlayfs, on which containers cannot be stacked; inside a container put it on a volume (docker run -v linkspan:{0}) or on a tmpfs",
            data_root.display()
        )));
    }
    make(root, 0o700)?;
    for name in ["configs", "layers", "l/empty", "holds", "tmp"] {
        make(&root.join(name), 0o700)?;
    }
    std::fs::set_permissions(root.join("l/empty"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(io_error("change the mode of", &root.join("l/empty")))
}

/// Makes sure that no other process has the store open, until the file is dropped.
pub(crate) fn lock_directory(root: &Path) -> Result<File, ImageError> {
    let path = root.join("lock");
    let file = File::create(&path).map_err(io_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(ImageError::Invalid(format!(
            "the image store {} is in use by another process: stop it, or use another data root",
            root.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(io_error("lock", &path)(error)),
    }
}

/// Removes everything in a directory.
pub(crate) fn empty_directory(path: &Path) -> Result<(), ImageError> {
    for entry in std::fs::read_dir(path).map_err(io_error("read", path))? {
        let entry = entry.map_err(io_error("read", path))?.path();
        let removed = if entry.is_dir() && !entry.is_symlink() {
            std::fs::remove_dir_all(&entry)
        } else {
            std::fs::remove_file(&entry)
        };
        removed.map_err(io_error("remove", &entry))?;
    }
    Ok(())
}

/// What a file must outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlives {
    /// The end of this process: quick. After a power cut the file may be absent, or empty.
    Process,
    /// A power cut too.
    Power,
}

/// Writes a file so that a crash leaves the old one or the new one.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8], outlives: Outlives) -> Result<(), ImageError> {
    let directory = path.parent().unwrap_or(path);
    let temp = path.with_extension("new");
    let sync = |file: &File| if outlives == Outlives::Power { file.sync_all() } else { Ok(()) };
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temp)?;
        file.write_all(bytes)?;
        sync(&file)?;
        std::fs::rename(&temp, path)?;
        sync(&File::open(directory)?)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&temp);
        io_error("write", path)(error)
    })
}

/// Waits until all that was written to the filesystem of `path` would survive a power cut.
pub(crate) fn sync_filesystem(path: &Path) -> Result<(), ImageError> {
    let file = File::open(path).map_err(io_error("open", path))?;
    rustix::fs::syncfs(&file).map_err(|error| io_error("sync", path)(error.into()))
}
