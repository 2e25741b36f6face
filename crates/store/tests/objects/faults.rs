//! The file after a crash at any point of a write, damaged in any way, and after very many events.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use store::{
    StoreError,
    objects::{Keep, Objects, ObjectsError, Options, Revision},
};

use crate::{
    history,
    suite::{put, text},
};

/// How many; more by hand: `LINKSPAN_MANY=1000000`.
fn many(usual: usize) -> usize {
    std::env::var("LINKSPAN_MANY").ok().and_then(|many| many.parse().ok()).unwrap_or(usual)
}

async fn open(path: &Path) -> Result<Objects, Arc<StoreError>> {
    match Objects::open_sqlite(path, Options::default()).await {
        Ok(objects) => Ok(objects),
        Err(ObjectsError::File(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_crash_at_any_point_leaves_a_moment_of_the_past() {
    const HEAD: usize = 32;
    const FRAME: usize = 24 + 4096;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let objects = open(&path).await.unwrap();
    let writes = history::writes().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    let past = history::write_all(&objects, &writes).await;
    // As the disk would have it, had the machine stopped now, and earlier: the log is written from its beginning to its end.
    let log = fs::read(dir.path().join("kube.db-wal")).unwrap();
    let database = fs::read(&path).unwrap();
    let frames = (log.len() - HEAD) / FRAME;
    let mut newest = Revision(0);
    let mut moments = 0;
    for frame in 0..=frames {
        for cut in [0, 7, FRAME / 2] {
            let end = (HEAD + frame * FRAME + cut).min(log.len());
            let crashed = tempfile::tempdir().unwrap();
            let path = crashed.path().join("kube.db");
            fs::write(&path, &database).unwrap();
            fs::write(crashed.path().join("kube.db-wal"), &log[..end]).unwrap();
            let objects = open(&path).await.unwrap();
            let snapshot = objects.snapshot().await.unwrap();
            assert!(snapshot.revision >= newest, "what was there before is there: {} of {newest}", snapshot.revision);
            moments += usize::from(snapshot.revision > newest);
            newest = snapshot.revision;
            let known = past.range(..=newest).map(|(revision, then)| (*revision, then.clone())).collect();
            history::check(&objects, &known).await;
            put(&objects, "/after", "1").await;
        }
    }
    assert_eq!(Some(&newest), past.keys().last(), "all that was acknowledged is in the log");
    assert_eq!(moments + 1, past.len(), "each write is a moment");
}

#[tokio::test]
async fn damage_is_refused_with_the_remedy_or_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let objects = open(&path).await.unwrap();
    for number in 0..200 {
        put(&objects, &format!("/{number}"), &"x".repeat(500)).await;
    }
    objects.close().await;
    let whole = fs::read(&path).unwrap();
    let damaged = dir.path().join("damaged.db");
    let check = async |bytes: &[u8], words: &str| {
        fs::write(&damaged, bytes).unwrap();
        let error = open(&damaged).await.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(fs::read(&damaged).unwrap(), bytes, "it is left as it was");
    };
    check(b"", "it is empty").await;
    check(b"junk that is long enough to be looked at as if it were a database", "restore it from a backup").await;
    check(
        &whole[..whole.len() / 2],
        "restore it from a backup, or move it away to start without the Kubernetes objects",
    )
    .await;
    let with = |place: usize, number: u32| {
        let mut bytes = whole.clone();
        bytes[place..place + 4].copy_from_slice(&number.to_be_bytes());
        bytes
    };
    // The header's own fields (the SQLite file format, 1.3): user version and application id.
    check(&with(60, 2), "has layout 2 and this linkspan knows 1: use the version that wrote it").await;
    check(&with(68, 7), "is not a linkspan store of Kubernetes objects: move it away").await;
    // Whatever page is hit: it is refused, or what is read is what the file says.
    for page in 0..whole.len() / 4096 {
        for place in [0, 9, 1000, 4000] {
            let mut bytes = whole.clone();
            bytes[page * 4096 + place..page * 4096 + place + 64].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(&damaged, &bytes).unwrap();
            match open(&damaged).await {
                Ok(objects) => {
                    assert!(objects.snapshot().await.unwrap().objects.len() <= 200);
                    objects.close().await;
                }
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            for extension in ["db-wal", "db-shm"] {
                // Made by who opened it.
                let _ = fs::remove_file(damaged.with_extension(extension));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_events_leave_a_small_file_and_a_small_process() {
    const WRITERS: usize = 256;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kube.db");
    let events = many(40_000);
    let keep = Keep { events: (events / 20).min(Keep::default().events), ..Keep::default() };
    let options = || Options { keep: keep.clone(), patience: Duration::from_secs(3), ..Options::default() };
    let objects = Objects::open_sqlite(&path, options()).await.unwrap();
    let before = rss_kib();
    let begun = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let objects = objects.clone();
        writers.spawn(async move {
            for number in 0..events / WRITERS {
                // Some change for ever, some come and go.
                let key = format!("/{writer}/{}", number % 7);
                let value = (number % 7 < 4 || number % 14 < 7).then(|| format!("{number} {}", "x".repeat(500)));
                // What is to be deleted may be gone already.
                let _ = objects.write(&key, store::objects::Expect::Any, value.as_deref().and_then(text)).await;
            }
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let written = begun.elapsed();
    let size = |name: &str| fs::metadata(dir.path().join(name)).map_or(0, |file| file.len());
    let sizes = (size("kube.db") >> 10, size("kube.db-wal") >> 10);
    let grown = rss_kib().saturating_sub(before);
    let newest = objects.snapshot().await.unwrap();
    objects.close().await;
    drop(objects);
    let begun = Instant::now();
    let again = Objects::open_sqlite(&path, options()).await.unwrap();
    println!(
        "{events} events in {written:.1?}; file {} KiB, log {} KiB, memory {grown} KiB more; opened again in {:.1?}",
        sizes.0,
        sizes.1,
        begun.elapsed()
    );
    assert_eq!(plain(&again.snapshot().await.unwrap()), plain(&newest));
    // Far above what it is.
    assert!(sizes.0 + sizes.1 < 128 << 10 && grown < 256 << 10, "{sizes:?} {grown}");
}

fn plain(snapshot: &store::objects::Snapshot) -> BTreeMap<String, u64> {
    snapshot.objects.iter().map(|(key, object)| (key.to_string(), object.modified.0)).collect()
}

fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
