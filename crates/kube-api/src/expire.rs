//! Events do not stay: each is gone an hour after it was last written (kube-apiserver's `--event-ttl`), and the oldest go when there are too
//! many. Their age is counted by the server's own uptime, so that no jump of a clock takes them all away; after a restart they live anew.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use store::objects::{Expect, Objects, Revision, Snapshot, Stored};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

/// How long an event lives.
const LIFE: Duration = Duration::from_secs(3600);
/// How many there may be. When there are more, an eighth more than needed goes, so that this is rare.
const MOST: usize = 20_000;
/// How often it is looked whose time has come.
const EVERY: Duration = Duration::from_secs(10);
/// How often it is looked whether so much was written that there may be too many.
const OFTEN: Duration = Duration::from_secs(1);
/// How often those that are too many are deleted in a row, while others come.
const SWEEPS_MAX: usize = 100;
/// How many are deleted at a time.
const AT_ONCE: usize = 256;
/// Where events are kept.
const PLACES: [&str; 2] = ["/core/events/", "/events.k8s.io/events/"];

/// Deletes events for as long as it is polled.
pub async fn run(objects: Objects) {
    let mut ages = Ages::default();
    let mut ticks = interval(OFTEN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // All are looked at again then, or when so much has been written that there may be too many.
    let (mut next, mut full) = (Instant::now(), Revision(0));
    loop {
        let now = ticks.tick().await;
        let newest = objects.cached().revision;
        if now < next && newest < full {
            continue;
        }
        ages.note(newest, now);
        let old = ages.older_than(LIFE, now);
        let mut room = 0;
        // While they are deleted others come; where none can be deleted now, it is tried again later.
        for _ in 0..SWEEPS_MAX {
            let deleted;
            (deleted, room) = sweep(&objects, old, MOST).await;
            if deleted == 0 || room > 0 {
                break;
            }
        }
        (next, full) = (now + EVERY, Revision(objects.cached().revision.0 + room));
    }
}

/// Deletes those that go. Returns how many that were, and how many must come until there are too many.
async fn sweep(objects: &Objects, old: Revision, most: usize) -> (usize, u64) {
    let mut deleted = 0;
    for some in doomed(&objects.cached(), old, most).chunks(AT_ONCE) {
        let mut deletions = JoinSet::new();
        for (key, modified) in some {
            let (objects, key, modified) = (objects.clone(), Arc::clone(key), *modified);
            // What was written meanwhile lives on; what cannot be deleted now is seen again.
            deletions.spawn(async move { objects.write(&key, Expect::At(modified), None).await.is_ok() });
        }
        while let Some(done) = deletions.join_next().await {
            deleted += usize::from(done.unwrap_or(false));
        }
    }
    let left = all(&objects.cached()).count();
    (deleted, (most + 1).saturating_sub(left) as u64)
}

fn all(snapshot: &Snapshot) -> impl Iterator<Item = (&Arc<str>, &Stored)> {
    PLACES.iter().flat_map(|place| snapshot.range(place, None))
}

/// When the newest revision was which.
#[derive(Default)]
struct Ages(VecDeque<(Instant, Revision)>);

impl Ages {
    fn note(&mut self, newest: Revision, now: Instant) {
        self.0.push_back((now, newest));
    }

    /// The newest revision that is at least so old.
    fn older_than(&mut self, life: Duration, now: Instant) -> Revision {
        while self.0.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= life) {
            self.0.pop_front();
        }
        match self.0.front() {
            Some((then, revision)) if now.duration_since(*then) >= life => *revision,
            _ => Revision(0),
        }
    }
}

/// The events that go: those not written since a revision, and the oldest of those that are too many.
fn doomed(snapshot: &Snapshot, old: Revision, most: usize) -> Vec<(Arc<str>, Revision)> {
    let young = all(snapshot).filter(|(_, stored)| stored.modified > old).count();
    let last = if young > most {
        let mut revisions: Vec<Revision> =
            all(snapshot).map(|(_, stored)| stored.modified).filter(|at| *at > old).collect();
        revisions.sort_unstable();
        revisions[young - (most - most / 8) - 1]
    } else {
        old
    };
    all(snapshot)
        .filter(|(_, stored)| stored.modified <= last)
        .map(|(key, stored)| (Arc::clone(key), stored.modified))
        .collect()
}

#[cfg(test)]
mod tests {
    use store::objects::Options;

    use super::*;

    #[tokio::test]
    async fn a_sweep() {
        let dir = tempfile::tempdir().expect("a directory");
        let objects = Objects::open_sqlite(&dir.path().join("kube.db"), Options::default()).await.expect("objects");
        for name in 0..5 {
            let value = Some("{}".into());
            objects.write(&format!("/core/events/a/{name}"), Expect::Absent, value).await.expect("it is written");
        }
        let none = Revision(0);
        assert_eq!(sweep(&objects, none, 8).await, (0, 4));
        assert_eq!(sweep(&objects, none, 5).await, (0, 1), "one more is too many: nothing goes before it comes");
        assert_eq!(sweep(&objects, none, 4).await, (1, 1));
        objects.close().await;
        assert_eq!(sweep(&objects, none, 2).await, (0, 0), "what cannot be deleted now");
    }

    #[test]
    fn ages() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut ages = Ages::default();
        for (now_s, newest, expected) in
            [(0, 5, 0), (10, 7, 0), (3599, 9, 0), (3600, 9, 5), (3611, 9, 7), (9000, 12, 9)]
        {
            ages.note(Revision(newest), at(now_s));
            assert_eq!(ages.older_than(LIFE, at(now_s)), Revision(expected), "after {now_s} s");
        }
        assert!(ages.0.len() < 4, "what is not needed is forgotten");
    }

    #[test]
    fn who_goes() {
        let check = |old: u64, most: usize, expected: &[&str]| {
            let mut snapshot = Snapshot::default();
            // Written in this order.
            let keys = [
                "/core/events/a/1",
                "/core/pods/a/2",
                "/core/events/b/3",
                "/events.k8s.io/events/a/4",
                "/core/events/a/5",
            ];
            for (revision, key) in (1..).zip(keys) {
                let at = Revision(revision);
                snapshot.objects.insert(key.into(), Stored { created: at, modified: at, value: "{}".into() });
            }
            let doomed: Vec<_> =
                doomed(&snapshot, Revision(old), most).into_iter().map(|(key, _)| key.to_string()).collect();
            assert_eq!(doomed, expected, "not since {old}, at most {most}");
        };
        check(0, 10, &[]);
        check(0, 4, &[]);
        check(3, 10, &["/core/events/a/1", "/core/events/b/3"]);
        check(0, 2, &["/core/events/a/1", "/core/events/b/3"]);
        check(1, 2, &["/core/events/a/1", "/core/events/b/3"]);
        check(9, 2, &["/core/events/a/1", "/core/events/a/5", "/core/events/b/3", "/events.k8s.io/events/a/4"]);
    }
}
