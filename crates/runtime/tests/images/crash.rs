//! The store after kill -9 at any step and in the middle of one, and on a disk that is full.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::image::{
    Assembly, AssemblyFile, CommitRequest, Config, Digest, ImageError, ImportRequest, ListFilters, ProgressSink,
    PullRequest, Reference, RegistrySettings, Store,
};
use tempfile::TempDir;

use crate::fake_registry::{Answer, Ending, Fixture, Server};
use crate::house::{busybox, is_root, runtime};

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

        whole(dir.path());
    }
}

/// Opens a store whose process was killed: every image and every container is whole, and there is nothing else.
fn whole(data_root: &Path) -> Store {
    let store = Store::open(data_root).expect("opens");
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
        let layers = fs::read_dir(data_root.join("images/layers")).expect("there").count();
        assert!(layers <= ids.len() + snapshots.len(), "{layers} layers for {} images", ids.len());
    });
    assert_eq!(fs::read_dir(data_root.join("images/tmp")).expect("there").count(), 0);
    store
}

/// Set for the process that is killed in the middle of one piece of work: which; what it reads comes by standard input.
const WORK: &str = "LINKSPAN_TEST_WORK";
/// The image that the work makes.
const MADE: &str = "made:1";
/// How much the work has to do: enough that its middle is met.
const MUCH: usize = 1 << 20;

/// Not a test of its own: does its work once, in the process that is killed.
#[test]
fn victim_at_work() {
    let (Ok(data_root), Ok(work)) = (std::env::var(VICTIM), std::env::var(WORK)) else { return };
    let store = Store::open(Path::new(&data_root)).expect("opens");
    println!("step");
    runtime().block_on(do_work(&store, &work, Box::new(std::io::stdin()))).expect("works");
}

/// Makes an image: `load`, `import`, `commit`, or a pull from the registry at an address.
async fn do_work(store: &Store, work: &str, source: Box<dyn Read + Send>) -> Result<(), ImageError> {
    let made = Reference::parse(MADE).expect("valid");
    match work {
        "load" => store.load(source, ProgressSink::silent()).await.map(drop),
        "import" => {
            let (changes, message) = (Vec::new(), String::new());
            let request = ImportRequest { source, reference: Some(made), changes, message, platform: None };
            store.import(request).await.map(drop)
        }
        "commit" => {
            let request = CommitRequest {
                container: "c1".to_owned(),
                exclude: BTreeSet::new(),
                config: Config::default(),
                changes: Vec::new(),
                author: String::new(),
                comment: String::new(),
                reference: Some(made),
            };
            store.commit(request).await.map(drop)
        }
        address => {
            let reference = Reference::parse(&format!("{address}/{MADE}")).expect("valid");
            let progress = ProgressSink::silent();
            let request = PullRequest { reference, platform: None, credentials: None, progress };
            store.pull(request, &RegistrySettings::default()).await.map(drop)
        }
    }
}

/// A victim that has opened its store and begins to work.
fn at_work(data_root: &Path, work: &str) -> Child {
    let mut victim = victim_process(data_root, "crash::victim_at_work", &[]);
    let mut victim =
        victim.env(WORK, work).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs");
    let mut lines = BufReader::new(victim.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.ends_with("step")), "the victim died by itself");
    victim
}

/// Kills it; afterwards the image is not there, or all of it is.
fn kill(mut victim: Child, data_root: &Path) -> Store {
    victim.kill().expect("it was started");
    victim.wait().expect("it was started");
    whole(data_root)
}

/// Does the work that was broken off, to its end.
fn next_try_works(store: &Store, work: &str, source: &[u8], made: &str) {
    let source = Box::new(Cursor::new(source.to_vec()));
    runtime().block_on(do_work(store, work, source)).expect("the next try works");
    let image = store.resolve(made).expect("made");
    let saved = runtime().block_on(store.save(&[image.id.to_string()], std::io::sink()));
    saved.expect("it is whole");
}

/// Bytes that do not compress, the same each time.
fn noise() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(MUCH).collect()
}

fn layer(content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "content", content).expect("memory");
    builder.into_inner().expect("memory")
}

#[test]
fn a_load_and_an_import_that_were_killed_leave_nothing_half() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let import = layer(&noise());
    let elsewhere = TempDir::new().expect("a temporary directory");
    let store = Store::open(elsewhere.path()).expect("opens");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let load = std::thread::scope(|scope| {
        let saving = scope.spawn(|| {
            runtime().block_on(async {
                do_work(&store, "import", Box::new(Cursor::new(import.clone()))).await.expect("imports");
                store.save(&[MADE.to_owned()], writer).await.expect("saves");
            });
        });
        let mut load = Vec::new();
        reader.read_to_end(&mut load).expect("reads");
        saving.join().expect("saves");
        load
    });
    for (work, source) in [("import", &import), ("load", &load)] {
        let dir = TempDir::new().expect("a temporary directory");
        for eighths in 1..=8 {
            let mut victim = at_work(dir.path(), work);
            let mut input = victim.stdin.take().expect("piped");
            // What fits into the pipe may be unread when it is killed; after the last byte it has to put all in its place.
            input.write_all(&source[..source.len() * eighths / 8]).expect("the victim reads");
            let unfinished = (eighths < 8).then_some(input);
            if unfinished.is_some() {
                until("it is written", || size_of(&dir.path().join("images/tmp")) > 0);
            }
            let store = kill(victim, dir.path());
            assert!(unfinished.is_none() || store.resolve(MADE).is_err(), "{work}: half of it is an image");
        }
        next_try_works(&whole(dir.path()), work, source, MADE);
    }
}

#[test]
fn a_commit_that_was_killed_leaves_nothing_half() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    {
        let store = Store::open(dir.path()).expect("opens");
        runtime().block_on(async {
            let id = busybox(&store, "busybox").await;
            let snapshot = store.create_snapshot("c1", &id).await.expect("makes");
            fs::write(snapshot.upper.join("content"), noise()).expect("writes");
        });
    }
    for eighths in 0..8 {
        let mut victim = at_work(dir.path(), "commit");
        until("the layer grows", || {
            size_of(&dir.path().join("images/tmp")) > MUCH * eighths / 8 || victim.try_wait().expect("ours").is_some()
        });
        let store = kill(victim, dir.path());
        assert!(store.snapshot("c1").expect("its layers are there").is_some(), "the container goes on");
        // Where it was fast, it was done.
        if let Ok(made) = store.resolve(MADE) {
            runtime().block_on(store.remove_image(&made.id.to_string(), Default::default(), &[])).expect("removes");
        }
    }
    next_try_works(&whole(dir.path()), "commit", &[], MADE);
}

#[test]
fn a_pull_that_was_killed_leaves_nothing_half() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let plain = layer(&noise());
    let compressed = zstd::encode_all(plain.as_slice(), 1).expect("memory");
    let digest = Digest::of(&compressed);
    let fixture = Fixture::of(compressed, "zstd", &Digest::of(&plain), "amd64");
    // How much of its layer the registry gives before it is silent, in eighths: nothing besides at 0, all at 9.
    let given = std::sync::Arc::new(AtomicUsize::new(0));
    let eighths = given.clone();
    let registry = runtime();
    let honest = fixture.clone();
    let server = registry.block_on(Server::start(move |seen| {
        let answer = honest.answer(seen);
        match eighths.load(Ordering::SeqCst) {
            all @ 0..9 if honest.is_layer(seen) => {
                let body = answer.body[..answer.body.len() * all / 8].to_vec();
                Answer { body, ending: Ending::Stalls, ..answer }
            }
            _ => answer,
        }
    }));
    let work = server.address.to_string();
    let made = format!("{work}/{MADE}");
    for eighths in 0..=8 {
        given.store(eighths, Ordering::SeqCst);
        let asked = server.seen().len();
        let victim = at_work(dir.path(), &work);
        until("the layer is asked for", || {
            server.seen().iter().skip(asked).any(|seen| seen.path.ends_with(digest.as_str()))
        });
        // It may have all by itself: its size is known.
        if (1..8).contains(&eighths) {
            let enough = fixture.layer.len() * eighths / 16;
            until("the layer comes", || size_of(&dir.path().join("images/tmp")) >= enough);
        }
        let store = kill(victim, dir.path());
        assert!(eighths == 8 || store.resolve(&made).is_err(), "half of it is an image");
    }
    given.store(9, Ordering::SeqCst);
    next_try_works(&whole(dir.path()), &work, &[], &made);
}

/// Waits for what another process does: there is nothing but to look again.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Bytes of all the files below a directory, of which some may go meanwhile.
fn size_of(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
        Ok(metadata) => metadata.len() as usize,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    if !is_root() {
        eprintln!("SKIPPED: unpacking images needs root");
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let data = dir.path().join("data");
    fs::create_dir(&data).expect("writes");
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
            assert_eq!(fs::read_dir(data_root.join("images/tmp")).expect("there").count(), 0);
        }
        store.save(&["small".to_owned()], std::io::sink()).await.expect("whole");
        store.assemble(image("other", vec![AssemblyFile::text("y", "y")])).await.expect("fits again");
        // A pull that finds no room, and the same one when there is.
        let fixture = Fixture::new();
        let server = Server::start(move |seen| fixture.answer(seen)).await;
        let address = server.address.to_string();
        fill(&data_root.join("ballast"));
        let error = do_work(&store, &address, Box::new(std::io::empty())).await.expect_err("no room").to_string();
        assert!(error.contains("No space left on device"), "{error}");
        assert!(store.resolve(&format!("{address}/{MADE}")).is_err());
        assert_eq!(fs::read_dir(data_root.join("images/tmp")).expect("there").count(), 0);
        fs::remove_file(data_root.join("ballast")).expect("removes");
        do_work(&store, &address, Box::new(std::io::empty())).await.expect("there is room");
    });
    drop(store);
    assert_eq!(whole(data_root).list(&ListFilters::default()).expect("lists").len(), 3);
    println!("the full disk was told");
}

/// Takes all the room that a disk has.
fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).expect("there is an inode");
    while file.write_all(&[0; 4096]).is_ok() {}
}
