//! What the image tests share: a store in a temporary directory and a busybox image.

use runtime::image::{Assembly, AssemblyFile, Config, ImageId, Reference, Store};
use tempfile::TempDir;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A new store; nothing, loudly, where this user cannot make device nodes.
pub fn store() -> Option<(TempDir, Store)> {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return None;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let store = Store::open(dir.path()).expect("a new store");
    Some((dir, store))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Debian's static busybox with a shell; a stand-in of the same size where it is not installed.
pub async fn busybox(store: &Store, reference: &str) -> ImageId {
    let program = if std::path::Path::new("/bin/busybox").exists() { "/bin/busybox" } else { "/proc/self/exe" };
    let files = vec![
        AssemblyFile::directory("bin", 0o755),
        AssemblyFile::program("bin/busybox", program),
        AssemblyFile::symlink("bin/sh", "busybox"),
        AssemblyFile::text("etc/issue", "busybox\n"),
    ];
    let config = Config { cmd: Some(vec!["sh".to_owned()]), env: vec!["PATH=/bin".to_owned()], ..Config::default() };
    let reference = Some(Reference::parse(reference).expect("valid"));
    // Older than whatever the tests make of it.
    let created = Some("1970-01-01T00:00:00Z".to_owned());
    let assembly = Assembly { reference, config, files, created, ..Assembly::default() };
    store.assemble(assembly).await.expect("assembles")
}
