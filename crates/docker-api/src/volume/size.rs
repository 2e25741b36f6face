//! How much a directory takes.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt, path::Path};

/// Bytes of the files below a directory, each counted once however many names it has; 0 if there is no such directory. Slow: it reads
/// every directory.
pub(crate) fn directory_size(path: &Path) -> io::Result<u64> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(directory) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            // What is removed while this counts takes nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                pending.push(entry.path());
            } else if seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/one"), "12345").unwrap();
        fs::hard_link(root.path().join("a/one"), root.path().join("two")).unwrap();
        fs::write(root.path().join("three"), "678").unwrap();
        std::os::unix::fs::symlink("/", root.path().join("x")).unwrap();
        assert_eq!(directory_size(root.path()).unwrap(), 5 + 3 + 1);
        assert_eq!(directory_size(&root.path().join("missing")).unwrap(), 0);
        assert!(directory_size(&root.path().join("three")).is_err());
    }
}
