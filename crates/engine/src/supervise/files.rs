//! The files that a container sees as its own: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`. What is in them is planned.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use tracing::warn;

/// Replaces a file's content. The file stays the same one, since containers have it bind-mounted; and it is never empty in between, which
/// would cost the file system more than the writing.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut old = Vec::new();
    file.read_to_end(&mut old)?;
    if old == text.as_bytes() {
        return Ok(());
    }
    file.write_all_at(text.as_bytes(), 0)?;
    if old.len() > text.len() {
        file.set_len(text.len() as u64)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_its_new_content_and_stays_the_same_one() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hosts");
        write(&path, "").unwrap();
        let number = fs::metadata(&path).unwrap().ino();
        for text in ["127.0.0.1 localhost\n", "::1 a\n", "::1 a\n", "", "longer than before\n"] {
            write(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::metadata(&path).unwrap().ino(), number);
        }
    }
}
