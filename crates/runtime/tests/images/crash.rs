//! The store after kill -9 at any step, and on a disk that is full.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use runtime::image::{Assembly, AssemblyFile, ListFilters, Reference, Store};
use tempfile::TempDir;

use crate::house::{is_root, runtime};

/// Set for the process that is to be killed: the data root.
const VICTIM: &str = "LINKSPAN_TEST_VICTIM";
/// Each kill comes one step later than the one before.
const KILLS: usize = 24;

/// Not a test of its own: works on a store for ever and says each step, in the process that is killed.
#[test]
fn victim() {
    let Ok(data_root) = std::env::var(VICTIM) else { return };
    let store = Store::open(Path::new(&data_root)).expect("opens");
    runtime().block_on(async {
        for round in 0_u64.. {
            println!("step");
            let files = vec![AssemblyFile::text("round", &format!("{round}-{}", std::process::id()))];
            let reference = Some(Reference::parse(&format!("image:{}", round % 5)).expect("valid"));
            let id = store.assemble(Assembly { reference, files, ..Assembly::default() }).await.expect("assembles");
            println!("step");
            store.create_snapshot("c1", &id).await.expect("makes");
            println!("step");
            store.prune(ListFilters::default(), &[]).await.expect("prunes");
            println!("step");
            store.remove_snapshot("c1").await.expect("removes");
            println!("step");
            store.remove_image("image:0", Default::default(), &[]).await.map(drop).unwrap_or_default();
        }
    });
}

/// This very test binary as another process that runs only the named function, behind a program that prepares it.
fn victim_process(data_root: &Path, function: &str, before: &[&str]) -> Command {
    let this = std::env::current_exe().expect("known");
    let mut command = Command::new(before.first().copied().unwrap_or("env"));
    command.args(before.iter().skip(1)).arg(this).args(["--exact", function, "--nocapture"]).env(VICTIM, data_root);
    command
}

#[test]
fn a_store_whose_process_was_killed_is_whole() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    for kill_after in 1..=KILLS {
        let mut victim =
            victim_process(dir.path(), "crash::victim", &[]).stdout(Stdio::piped()).spawn().expect("starts");
        let lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
        let steps = lines.map_while(Result::ok).filter(|line| line.ends_with("step")).take(kill_after).count();
        victim.kill().expect("runs");
        victim.wait().expect("was started");
        assert_eq!(steps, kill_after, "the victim died by itself");

        let store = Store::open(dir.path()).expect("opens");
        assert_eq!(store.damaged(), []);
        runtime().block_on(async {
            let images = store.list(&ListFilters { all: true, ..Default::default() }).expect("lists");
            let ids: Vec<String> = images.iter().map(|image| image.id.to_string()).collect();
            if !ids.is_empty() {
                store.save(&ids, std::io::sink()).await.expect("every image is whole");
            }
            let snapshots = store.snapshots();
            for container in &snapshots {
                store.snapshot(container).expect("its layers are there");
            }
            let layers = std::fs::read_dir(dir.path().join("images/layers")).expect("there").count();
            assert!(layers <= ids.len() + snapshots.len(), "{layers} layers for {} images", ids.len());
        });
        assert_eq!(std::fs::read_dir(dir.path().join("images/tmp")).expect("there").count(), 0);
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("writes");
    let script =
        r#"mount -t tmpfs -o size=256k,nr_inodes=200 tmpfs "$LINKSPAN_TEST_VICTIM" || exit 99; exec "$0" "$@""#;
    let before = ["unshare", "--mount", "sh", "-c", script];
    let output = victim_process(&data, "crash::victim_of_a_full_disk", &before).output().expect("unshare runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(99) {
        eprintln!("SKIPPED: no tmpfs can be mounted here: {text}");
        return;
    }
    assert!(output.status.success() && text.contains("the full disk was told"), "{text}");
}

/// Not a test of its own: runs on a small disk.
#[test]
fn victim_of_a_full_disk() {
    let Ok(data_root) = std::env::var(VICTIM) else { return };
    let data_root = Path::new(&data_root);
    let store = Store::open(data_root).expect("opens");
    runtime().block_on(async {
        let image = |name: &str, files: Vec<AssemblyFile>| Assembly {
            reference: Some(Reference::parse(name).expect("valid")),
            files,
            ..Assembly::default()
        };
        store.assemble(image("small", vec![AssemblyFile::text("x", "x")])).await.expect("fits");
        let large = vec![AssemblyFile::text("large", &"x".repeat(1 << 20))];
        let many = (0..400).map(|number| AssemblyFile::text(&number.to_string(), "")).collect();
        for files in [large, many] {
            let error = store.assemble(image("large", files)).await.expect_err("does not fit").to_string();
            assert!(error.contains("No space left on device"), "{error}");
            assert!(store.resolve("large").is_err());
            assert_eq!(std::fs::read_dir(data_root.join("images/tmp")).expect("there").count(), 0);
        }
        store.save(&["small".to_owned()], std::io::sink()).await.expect("whole");
        store.assemble(image("other", vec![AssemblyFile::text("y", "y")])).await.expect("fits again");
    });
    drop(store);
    assert_eq!(Store::open(data_root).expect("opens").list(&ListFilters::default()).expect("lists").len(), 2);
    println!("the full disk was told");
}
