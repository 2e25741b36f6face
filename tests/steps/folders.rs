//! Where the scenarios are.

use std::{fs, path::PathBuf};

/// The folders of all scenarios, in order of name.
pub fn folders() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/scenarios");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = entries.filter(|path| path.join("steps").exists()).collect();
    folders.sort();
    folders
}
