//! What states, plans, traces and maps look like, as files beside the tests. `UPDATE_GOLDEN=1` writes them anew.

mod evaluate;
mod host;
mod map;
mod nft;
mod plan;
mod trace;

use std::{fs, path::Path};

/// Compares with the file of that name.
fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().expect("it has one")).expect("the folder can be made");
        fs::write(&path, text).expect("the file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} differs (UPDATE_GOLDEN=1 writes it anew); it is now:\n{text}");
}
