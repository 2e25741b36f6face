//! What holds in every home. Each case gets objects of its own, empty, with a short history.

use std::{collections::BTreeSet, future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use store::objects::{
    CutOff, Event, Expect, Keep, Objects, ObjectsError, Options, Revision, Watch, WriteError, Written,
};

type Case = fn(Objects) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// All cases by name.
pub const CASES: &[(&str, Case)] = &[
    ("expectations", |o| Box::pin(expectations(o))),
    ("a counter under contention", |o| Box::pin(contention(o))),
    ("ranges", |o| Box::pin(ranges(o))),
    ("past snapshots", |o| Box::pin(past_snapshots(o))),
    ("a future revision", |o| Box::pin(future_revision(o))),
    ("a watch hears its prefix", |o| Box::pin(prefixes(o))),
    ("a watch goes on where another left off", |o| Box::pin(resumption(o))),
    ("a slow watch is cut off, an idle one is not", |o| Box::pin(slow_and_idle(o))),
    ("progress", |o| Box::pin(progress(o))),
    ("a thousand watches and one change", |o| Box::pin(thousand(o))),
    ("closing", |o| Box::pin(closing(o))),
];

/// Events that the suite's objects keep.
const EVENTS: usize = 64;

/// How the suite's objects are opened.
pub fn options() -> Options {
    let keep = Keep { events: EVENTS, ..Keep::default() };
    Options { keep, patience: Duration::from_millis(200), ..Options::default() }
}

pub fn text(value: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(value.as_bytes()))
}

pub async fn put(objects: &Objects, key: &str, value: &str) -> Written {
    objects.write(key, Expect::Any, text(value)).await.unwrap()
}

/// Waits for the next event, but not for ever.
pub async fn next(watch: &mut Watch) -> Result<Arc<Event>, CutOff> {
    tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("the watch tells nothing")
}

async fn expectations(objects: Objects) {
    let early = put(&objects, "/a", "zero").await.revision;
    let modified = |objects: &Objects| objects.cached().get("/a").map(|o| (o.created, o.modified, o.value.clone()));
    // (what is expected, the value written or none to delete, the value before, whether it is done)
    let table: &[(Expect, Option<&str>, Option<&str>, bool)] = &[
        (Expect::Absent, Some("one"), Some("zero"), false),
        (Expect::At(Revision(early.0 + 1000)), Some("one"), Some("zero"), false),
        (Expect::At(early), Some("one"), Some("zero"), true),
        (Expect::At(early), Some("two"), Some("one"), false),
        (Expect::At(early), None, Some("one"), false),
        (Expect::Any, Some("two"), Some("one"), true),
        (Expect::Any, None, Some("two"), true),
        (Expect::Any, None, None, false),
        (Expect::At(early), Some("three"), None, false),
        (Expect::At(early), None, None, false),
        (Expect::Absent, None, None, false),
        (Expect::Absent, Some("three"), None, true),
        (Expect::Any, Some(""), Some("three"), true),
        (Expect::Absent, None, Some(""), false),
    ];
    for (number, (expect, value, before, done)) in table.iter().enumerate() {
        let case = format!("case {number}: {expect:?} {value:?}");
        let stored = modified(&objects);
        assert_eq!(stored.as_ref().map(|s| &s.2[..]), before.map(str::as_bytes), "{case}");
        match objects.write("/a", *expect, value.and_then(text)).await {
            Ok(written) => {
                assert!(done, "{case}: {written:?}");
                assert_eq!(written.before.as_ref().map(|b| &b.value[..]), before.map(str::as_bytes), "{case}");
                assert_eq!(written.object.as_ref().map(|o| &o.value[..]), value.map(str::as_bytes), "{case}");
                let created = stored.map_or(written.revision, |stored| stored.0);
                let object = written.object.map(|o| (o.created, o.modified, o.value));
                assert!(object.iter().all(|o| (o.0, o.1) == (created, written.revision)), "{case}");
                assert_eq!(modified(&objects), object, "{case}");
            }
            Err(WriteError::Conflict { current }) => {
                assert!(!done, "{case}: {current:?}");
                assert_eq!(current.map(|o| (o.created, o.modified, o.value)), stored, "{case}");
                assert_eq!(modified(&objects), stored, "{case}");
            }
            Err(error) => panic!("{case}: {error}"),
        }
    }
}

async fn contention(objects: Objects) {
    const TASKS: u64 = 8;
    const TIMES: u64 = 20;
    put(&objects, "/counter", "0").await;
    let count = |objects: Objects| async move {
        let mut revisions = Vec::new();
        while revisions.len() < usize::try_from(TIMES).unwrap() {
            let current = objects.snapshot().await.unwrap().get("/counter").unwrap().clone();
            let number: u64 = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
            match objects.write("/counter", Expect::At(current.modified), text(&(number + 1).to_string())).await {
                Ok(written) => revisions.push(written.revision),
                Err(WriteError::Conflict { current }) => assert!(current.is_some()),
                Err(error) => panic!("{error}"),
            }
        }
        revisions
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count(objects.clone()))).collect();
    let mut all = BTreeSet::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    let total = TASKS * TIMES;
    assert_eq!(all.len() as u64, total, "each write has a revision of its own");
    let value = objects.snapshot().await.unwrap().get("/counter").unwrap().value.clone();
    assert_eq!(value, total.to_string());
}

async fn ranges(objects: Objects) {
    for key in ["/core/pods/a/1", "/core/pods/a/2", "/core/pods/b/1", "/core/podtemplates/a/1", "/apps/pods/a/1"] {
        put(&objects, key, key).await;
    }
    let snapshot = objects.snapshot().await.unwrap();
    let table: &[(&str, Option<&str>, &[&str])] = &[
        ("/core/pods/", None, &["/core/pods/a/1", "/core/pods/a/2", "/core/pods/b/1"]),
        ("/core/pods/a/", None, &["/core/pods/a/1", "/core/pods/a/2"]),
        ("/core/pods/", Some("/core/pods/a/1"), &["/core/pods/a/2", "/core/pods/b/1"]),
        ("/core/pods/", Some("/core/pods/a/1x"), &["/core/pods/a/2", "/core/pods/b/1"]),
        ("/core/pods/b/", Some("/core/pods/a/1"), &["/core/pods/b/1"]),
        ("/core/pods/", Some("/core/pods/b/1"), &[]),
        ("/nothing/", None, &[]),
    ];
    for (prefix, after, expected) in table {
        let found: Vec<_> = snapshot.range(prefix, *after).map(|(key, _)| &**key).collect();
        assert_eq!(&found[..], *expected, "{prefix} after {after:?}");
    }
}

async fn past_snapshots(objects: Objects) {
    let first = put(&objects, "/a", "1").await.revision;
    put(&objects, "/b", "1").await;
    let third = put(&objects, "/a", "2").await.revision;
    objects.write("/b", Expect::Any, None).await.unwrap();
    let keys = |revision| {
        let snapshot = objects.snapshot_at(revision).unwrap();
        assert_eq!(snapshot.revision, revision);
        snapshot.objects.iter().map(|(k, o)| format!("{k}={}", str::from_utf8(&o.value).unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(keys(first), ["/a=1"]);
    assert_eq!(keys(third), ["/a=2", "/b=1"]);
    assert_eq!(keys(objects.snapshot().await.unwrap().revision), ["/a=2"]);
    for number in 0..EVENTS * 2 {
        put(&objects, "/a", &number.to_string()).await;
    }
    // It was asked for before, so it is kept.
    assert_eq!(keys(third), ["/a=2", "/b=1"]);
    let compacted = objects.snapshot_at(Revision(third.0 + 1)).unwrap_err();
    assert!(compacted.oldest > third, "{compacted}");
    assert_eq!(objects.watch("/", third).unwrap_err().oldest, compacted.oldest);
}

async fn future_revision(objects: Objects) {
    let now = put(&objects, "/a", "1").await.revision;
    let next = Revision(now.0 + 1);
    assert_eq!(objects.snapshot_since(now).await.unwrap().revision, now);
    match objects.snapshot_since(next).await {
        Err(ObjectsError::Ahead { asked, newest }) => assert_eq!((asked, newest), (next, now)),
        other => panic!("{other:?}"),
    }
    let (waited, written) = tokio::join!(objects.snapshot_since(next), put(&objects, "/a", "2"));
    assert_eq!(waited.unwrap().revision, written.revision);
}

async fn prefixes(objects: Objects) {
    let start = objects.snapshot().await.unwrap().revision;
    let mut pods = objects.watch("/core/pods/", start).unwrap();
    let mut all = objects.watch("/", start).unwrap();
    assert_eq!(pods.try_next(), Ok(None));
    let made = put(&objects, "/core/pods/a/1", "1").await;
    let other = put(&objects, "/core/nodes//n", "1").await;
    let gone = objects.write("/core/pods/a/1", Expect::Any, None).await.unwrap();
    let key: Arc<str> = "/core/pods/a/1".into();
    let put = Event::Put { key: key.clone(), object: made.object.clone().unwrap(), before: None };
    let delete = Event::Delete { key, before: made.object.unwrap(), revision: gone.revision };
    assert_eq!(*next(&mut pods).await.unwrap(), put);
    assert_eq!(*next(&mut pods).await.unwrap(), delete);
    assert_eq!(pods.try_next(), Ok(None));
    assert_eq!(pods.told(), gone.revision);
    let told = [next(&mut all).await, next(&mut all).await, next(&mut all).await].map(|e| e.unwrap().revision());
    assert_eq!(told, [made.revision, other.revision, gone.revision]);
}

async fn resumption(objects: Objects) {
    let start = objects.snapshot().await.unwrap().revision;
    let mut whole = objects.watch("/", start).unwrap();
    for number in 0..20 {
        put(&objects, &format!("/{}", number % 3), &number.to_string()).await;
    }
    let mut parts = objects.watch("/", start).unwrap();
    for _ in 0..20 {
        let event = next(&mut parts).await.unwrap();
        assert_eq!(event, next(&mut whole).await.unwrap());
        parts = objects.watch("/", event.revision()).unwrap();
    }
    assert_eq!(parts.try_next(), Ok(None));
}

async fn slow_and_idle(objects: Objects) {
    let start = put(&objects, "/idle", "1").await.revision;
    let mut idle = objects.watch("/idle", start).unwrap();
    let mut slow = objects.watch("/busy", start).unwrap();
    let mut reader = objects.watch("/busy", start).unwrap();
    for number in 0..EVENTS * 3 {
        let revision = put(&objects, "/busy", &number.to_string()).await.revision;
        assert_eq!(next(&mut reader).await.unwrap().revision(), revision);
    }
    assert_eq!(next(&mut slow).await, Err(CutOff::Slow));
    assert_eq!(slow.try_next(), Err(CutOff::Slow), "once cut off, it stays so");
    let change = put(&objects, "/idle", "2").await.revision;
    assert_eq!(next(&mut idle).await.unwrap().revision(), change);
    let compacted = objects.watch("/", start).unwrap_err();
    assert!(compacted.asked == start && compacted.oldest > start);
}

async fn progress(objects: Objects) {
    let start = objects.snapshot().await.unwrap().revision;
    let mut watch = objects.watch("/mine/", start).unwrap().with_progress(Duration::from_millis(5));
    assert_eq!(*next(&mut watch).await.unwrap(), Event::Progress(start));
    let other = put(&objects, "/other/", "1").await.revision;
    let mine = put(&objects, "/mine/", "1").await.revision;
    loop {
        match &*next(&mut watch).await.unwrap() {
            Event::Progress(revision) => assert!([start, other].contains(revision), "progress never runs ahead"),
            event => break assert_eq!(event.revision(), mine),
        }
    }
    assert_eq!(*next(&mut watch).await.unwrap(), Event::Progress(mine));
}

async fn thousand(objects: Objects) {
    let start = objects.snapshot().await.unwrap().revision;
    let watches: Vec<_> = (0..1000).map(|_| objects.watch("/core/", start).unwrap()).collect();
    let tasks: Vec<_> =
        watches.into_iter().map(|mut watch| tokio::spawn(async move { next(&mut watch).await.unwrap() })).collect();
    put(&objects, "/core/pods/a/1", "1").await;
    let mut told: Vec<Arc<Event>> = Vec::new();
    for task in tasks {
        told.push(task.await.unwrap());
    }
    assert!(told.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])), "all share one event");
}

async fn closing(objects: Objects) {
    let start = put(&objects, "/a", "1").await.revision;
    let mut watch = objects.watch("/", start).unwrap();
    objects.close().await;
    assert_eq!(next(&mut watch).await, Err(CutOff::Closed));
    let error = objects.write("/a", Expect::Any, text("2")).await.unwrap_err();
    assert!(matches!(error, WriteError::Failed(ObjectsError::Closed)), "{error}");
    assert_eq!(objects.watch("/", start).unwrap().try_next(), Err(CutOff::Closed));
}
