//! The home in a file: what it keeps over a restart and a crash, what it refuses, and that it stays small.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use proptest::prelude::*;
use store::{
    StoreError,
    objects::{Expect, Keep, Objects, ObjectsError, Options, Revision, WriteError},
};

use crate::{
    history,
    suite::{self, CASES, next, put, text},
};

async fn open(path: &Path) -> Objects {
    Objects::open_sqlite(path, suite::options()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suite() {
    for (name, case) in CASES {
        println!("{name}");
        let dir = tempfile::tempdir().unwrap();
        case(open(&dir.path().join("kube.db")).await).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_past_is_as_it_was_also_after_a_restart(early in history::writes(), late in history::writes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("kube.db");
            let objects = Objects::open_sqlite(&path, Options::default()).await.unwrap();
            let mut past = history::write_all(&objects, &early).await;
            history::check(&objects, &past).await;
            objects.close().await;
            let objects = Objects::open_sqlite(&path, Options::default()).await.unwrap();
            history::check(&objects, &past).await;
            past.extend(history::write_all(&objects, &late).await);
            history::check(&objects, &past).await;
        });
    }
}

#[tokio::test]
async fn what_is_too_old_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let now_ms = Arc::new(AtomicU64::new(1_000_000));
    let clock = Arc::clone(&now_ms);
    let options = || {
        let clock = Arc::clone(&clock);
        let keep = Keep { age_ms: 1000, ..Keep::default() };
        Options { keep, clock: Arc::new(move || clock.load(Ordering::SeqCst)), ..Options::default() }
    };
    let objects = Objects::open_sqlite(&path, options()).await.unwrap();
    let first = put(&objects, "/a", "1").await.revision;
    let second = put(&objects, "/a", "2").await.revision;
    now_ms.fetch_add(900, Ordering::SeqCst);
    let third = put(&objects, "/a", "3").await.revision;
    assert!(objects.watch("/", Revision(0)).is_ok());
    now_ms.fetch_add(500, Ordering::SeqCst);
    put(&objects, "/a", "4").await;
    let check = |objects: &Objects| {
        assert_eq!(objects.watch("/", first).unwrap_err().oldest, second);
        let mut watch = objects.watch("/", second).unwrap();
        assert_eq!(watch.try_next().unwrap().unwrap().revision(), third);
    };
    check(&objects);
    objects.close().await;
    check(&Objects::open_sqlite(&path, options()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_stays_small() {
    const WRITERS: usize = 64;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let keep = Keep { events: 1000, ..Keep::default() };
    let objects = Objects::open_sqlite(&path, Options { keep, ..Options::default() }).await.unwrap();
    let write = |objects: Objects, writer: usize, times: usize| async move {
        for _ in 0..times {
            put(&objects, &format!("/{writer}"), &"x".repeat(1000)).await;
        }
    };
    let size = || {
        let bytes = |name: &str| fs::metadata(dir.path().join(name)).map_or(0, |file| file.len());
        bytes("kube.db") + bytes("kube.db-wal")
    };
    let mut sizes = Vec::new();
    for times in [100, 1000] {
        let tasks: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(objects.clone(), writer, times))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        sizes.push(size());
    }
    assert!(sizes[1] < sizes[0] * 2, "{sizes:?}");
}

#[tokio::test]
async fn one_process_at_a_time_and_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let error = async |path: &Path| match Objects::open_sqlite(path, Options::default()).await {
        Err(ObjectsError::File(error)) => error,
        other => panic!("{other:?}"),
    };
    let objects = open(&path).await;
    assert!(matches!(*error(&path).await, StoreError::Busy { .. }));
    put(&objects, "/a", "1").await;
    objects.close().await;
    let journal = dir.path().join("state.db");
    drop(store::Store::open(&journal).unwrap());
    assert!(matches!(*error(&journal).await, StoreError::Foreign { .. }));
    fs::write(&path, "").unwrap();
    assert!(matches!(*error(&path).await, StoreError::Damaged { .. }));
    assert!(matches!(
        *error(&dir.path().join("none/kube.db")).await,
        StoreError::Sqlite { .. } | StoreError::Io { .. }
    ));
}

/// The test program again, to do one of the works below.
fn child(work: &str, path: &Path) -> Command {
    let mut child = Command::new("sh");
    // With the signal ignored, what exceeds the limit is an error of the write.
    child.args(["-c", "trap '' XFSZ; ulimit -f \"$LIMIT\"; exec \"$@\"", "sh"]);
    child.arg(env::current_exe().unwrap()).args(["--exact", "sqlite::work", "--nocapture"]);
    child.env("LIMIT", "unlimited").env("WORK", work).env("FILE", path).stdout(Stdio::piped());
    child
}

/// What a child does; nothing when it is run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work() {
    let (Ok(work), Some(path)) = (env::var("WORK"), env::var_os("FILE")) else { return };
    let objects = open(Path::new(&path)).await;
    match work.as_str() {
        "write for ever" => {
            let tasks: Vec<_> = (0..4).map(|writer| tokio::spawn(write_for_ever(objects.clone(), writer))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        "write until refused" => write_until_refused(objects).await,
        other => panic!("{other}"),
    }
}

async fn write_for_ever(objects: Objects, writer: u32) {
    for number in 0_u64.. {
        let key = format!("/{writer}/{}", number % 10);
        let written = put(&objects, &key, &number.to_string()).await;
        println!("acknowledged {key} {} {number}", written.revision);
    }
}

async fn write_until_refused(objects: Objects) {
    let mut last = 0;
    let error = loop {
        match objects.write("/a", Expect::Any, text(&format!("{last}{}", " ".repeat(50_000)))).await {
            Ok(written) => last = written.revision.0,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::Failed(ObjectsError::File(_))), "{error}");
    // What is read is what the file has: the last that was acknowledged.
    let snapshot = objects.snapshot().await.unwrap();
    assert_eq!((snapshot.revision.0, snapshot.get("/a").unwrap().modified.0), (last, last));
    assert!(objects.watch("/", snapshot.revision).unwrap().try_next().unwrap().is_none());
    println!("acknowledged /a {last} {last}");
}

/// What a child said was acknowledged: the newest revision of each key.
fn acknowledged(lines: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let mut newest = BTreeMap::new();
    for line in lines {
        let words: Vec<_> = line.split(' ').collect();
        if let ["acknowledged", key, revision, _number] = words[..] {
            newest.insert(key.to_owned(), revision.parse().unwrap());
        }
    }
    newest
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    for times in [1, 50, 300, 700] {
        let mut child = child("write for ever", &path).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said: Vec<_> = lines.by_ref().filter(|line| line.starts_with("acknowledged")).take(times).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died; the last line may be cut.
        said.extend(lines.filter(|line| line.split(' ').count() == 4));
        let objects = open(&path).await;
        let snapshot = objects.snapshot().await.unwrap();
        for (key, revision) in acknowledged(said.into_iter()) {
            let modified = snapshot.get(&key).unwrap().modified.0;
            assert!(modified >= revision, "{key} is of revision {modified}, {revision} was acknowledged");
        }
        // And it goes on.
        let written = put(&objects, "/after", "1").await;
        assert_eq!(written.revision.0, snapshot.revision.0 + 1);
        let mut watch = objects.watch("/", snapshot.revision).unwrap();
        assert_eq!(next(&mut watch).await.unwrap().revision(), written.revision);
        objects.close().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let limited = child("write until refused", &path).env("LIMIT", "2000").output().unwrap();
    let output = String::from_utf8_lossy(&limited.stdout).into_owned();
    assert!(limited.status.success(), "{output}");
    let last = acknowledged(output.lines().map(str::to_owned))["/a"];
    let objects =
        Objects::open_sqlite(&path, Options { patience: Duration::ZERO, ..Options::default() }).await.unwrap();
    let snapshot = objects.snapshot().await.unwrap();
    assert!(snapshot.revision.0 >= last && last > 1, "{last} {}", snapshot.revision);
    put(&objects, "/a", "1").await;
}
