//! Random writes against a plain model: every past snapshot is what the model was, and a watch from any revision tells exactly the
//! difference. The same for both homes.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use store::objects::{Event, Expect, Objects, Revision, Snapshot};

use crate::suite::{next, text};

/// A write: the key, and the value or none to delete it.
pub type Write = (u8, Option<u8>);

pub fn writes() -> impl Strategy<Value = Vec<Write>> {
    vec((0..6_u8, proptest::option::weighted(0.7, any::<u8>())), 1..40)
}

/// What there was at each revision.
pub type Past = BTreeMap<Revision, BTreeMap<String, String>>;

/// Does the writes; what there was at each revision, from before the first of them.
pub async fn write_all(objects: &Objects, writes: &[Write]) -> Past {
    let start = objects.snapshot().await.unwrap();
    let mut now = plain(&start);
    let mut past = Past::from([(start.revision, now.clone())]);
    for (number, (key, value)) in writes.iter().enumerate() {
        let key = format!("/{}/{key}", key % 2);
        // No two values are the same, so that each write can be seen.
        let value = value.map(|value| format!("{number}: {value}"));
        let outcome = objects.write(&key, Expect::Any, value.as_deref().and_then(text)).await;
        let changed = match value {
            Some(value) => {
                now.insert(key, value);
                true
            }
            None => now.remove(&key).is_some(),
        };
        assert_eq!(outcome.is_ok(), changed);
        if let Ok(written) = outcome {
            past.insert(written.revision, now.clone());
        }
    }
    past
}

/// Checks every snapshot, and watches from every revision.
pub async fn check(objects: &Objects, past: &Past) {
    assert_eq!(Some(&plain(&objects.snapshot().await.unwrap())), past.values().last());
    for (revision, then) in past {
        assert_eq!(&plain(&objects.snapshot_at(*revision).unwrap()), then, "at revision {revision}");
        for prefix in ["/", "/0/"] {
            watch_from(objects, past, *revision, prefix).await;
        }
    }
}

async fn watch_from(objects: &Objects, past: &Past, from: Revision, prefix: &str) {
    let mut watch = objects.watch(prefix, from).unwrap();
    let mut before = &past[&from];
    for (revision, then) in past.range(Revision(from.0 + 1)..) {
        if let Some(changed) = changed_key(before, then).filter(|key| key.starts_with(prefix)) {
            let event = next(&mut watch).await.unwrap();
            assert_eq!((event.key(), event.revision()), (changed, *revision));
            let value = |stored: Option<&store::objects::Stored>| {
                stored.map(|stored| String::from_utf8(stored.value.to_vec()).unwrap())
            };
            assert_eq!(value(event.object()).as_ref(), then.get(changed));
            assert_eq!(value(event.before()).as_ref(), before.get(changed));
            assert!(!matches!(&*event, Event::Put { object, .. } if object.modified != *revision));
        }
        before = then;
    }
    assert_eq!(watch.try_next(), Ok(None));
}

/// The key that differs; none where the revision was made by somebody who wrote elsewhere.
fn changed_key<'a>(before: &'a BTreeMap<String, String>, then: &'a BTreeMap<String, String>) -> Option<&'a str> {
    before.keys().chain(then.keys()).find(|key| before.get(*key) != then.get(*key)).map(String::as_str)
}

fn plain(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    snapshot.objects.iter().map(|(key, object)| (key.to_string(), text(&object.value))).collect()
}
