//! The files that a container sees as its own: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`. What is in them is planned.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tracing::warn;

/// Replaces a file's content. The file stays the same one, since containers have it bind-mounted.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    fs::write(path, text)
}

/// Makes a directory that only root may enter.
pub fn directory(path: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o710).create(path)?;
    Ok(path.to_owned())
}

/// Removes a directory with all that is in it, if it is there.
pub fn remove(path: &Path) {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(path = %path.display(), %error, "cannot remove it")
        }
        _ => {}
    }
}
