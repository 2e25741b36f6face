//! How much a directory takes.

use std::{collections::BTreeSet, fs, io, os::unix::fs::MetadataExt, path::Path};

/// Bytes of the files below a directory, each counted once however many names it has. Slow: it reads every directory.
pub(crate) fn directory_size(path: &Path) -> io::Result<u64> {
    let mut seen = BTreeSet::new();
    let mut pending = vec![path.to_owned()];
    let mut bytes = 0;
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            // What is removed while this counts takes nothing.
            let Ok(meta) = entry.as_ref().map_err(|_| ()).and_then(|entry| entry.metadata().map_err(|_| ())) else {
                continue;
            };
            if meta.is_dir() {
                pending.extend(entry.map(|entry| entry.path()));
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
        assert!(directory_size(&root.path().join("missing")).is_err());
    }
}
