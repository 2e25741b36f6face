//! The objects as the controllers see them, kept up with the store. Whoever looks sees all that was written before. They are read when
//! somebody looks first: a server that starts serves what it has before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use store::objects::{CutOff, Event, Objects, Revision, Snapshot, Stored, Watch};

use crate::controller::{Change, Cluster, Object, ObjectRef, cluster::Settings};

/// The objects as the controllers see them.
pub struct View(Mutex<Seen>);

struct Seen {
    objects: Objects,
    cluster: Cluster,
    watch: Watch,
    changes: Vec<Change>,
    /// The first objects, until they are read.
    unread: Option<Snapshot>,
}

impl View {
    /// Of all objects. They are the first changes.
    pub fn open(objects: &Objects, settings: Settings) -> Result<Self, store::objects::Compacted> {
        let snapshot = objects.cached();
        let watch = objects.watch("/", snapshot.revision)?;
        let (objects, cluster) = (objects.clone(), Cluster::new(settings));
        let seen = Seen { objects, cluster, watch, changes: Vec::new(), unread: Some(snapshot) };
        Ok(Self(Mutex::new(seen)))
    }

    /// The objects as they are now.
    pub fn cluster(&self) -> Cluster {
        let mut seen = self.lock();
        seen.catch_up();
        seen.cluster.clone()
    }

    /// The objects as they are now, and what has changed since this was last asked.
    pub fn changes(&self) -> (Cluster, Vec<Change>) {
        let mut seen = self.lock();
        seen.catch_up();
        (seen.cluster.clone(), std::mem::take(&mut seen.changes))
    }

    /// The clock was set: it is this late now.
    pub fn clock_was_set(&self, now: Timestamp) {
        self.lock().cluster.clock_set = now;
    }

    // Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn catch_up(&mut self) {
        if let Some(first) = self.unread.take() {
            self.list(&first);
        }
        loop {
            match self.watch.try_next() {
                Ok(Some(event)) => self.take(&event),
                Ok(None) | Err(CutOff::Closed) => return,
                // What happened meanwhile is not told any more: all is looked at.
                Err(CutOff::Slow | CutOff::Relisted) => {
                    let snapshot = self.objects.cached();
                    let Ok(watch) = self.objects.watch("/", snapshot.revision) else { return };
                    self.watch = watch;
                    self.list(&snapshot);
                }
            }
        }
    }

    /// Makes the objects those of a snapshot; what differs has changed.
    fn list(&mut self, snapshot: &Snapshot) {
        let gone = |object: &Object| snapshot.get(object.reference.key()).is_none();
        let gone: Vec<_> = self.cluster.objects().filter(|o| gone(o)).map(|o| o.reference.clone()).collect();
        for reference in gone {
            let change = self.cluster.delete(reference.key());
            self.changes.push(change);
        }
        for (key, stored) in snapshot.range("/", None) {
            let known = ObjectRef::parse(key).and_then(|key| Some(self.cluster.object(&key)?.version().to_owned()));
            if known != Some(stored.modified.to_string()) {
                self.put(key, stored);
            }
        }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Put { key, object, .. } => self.put(key, object),
            Event::Delete { key, .. } => {
                let change = self.cluster.delete(key);
                self.changes.push(change);
            }
            Event::Progress(_) => {}
        }
    }

    fn put(&mut self, key: &str, stored: &Stored) {
        let Revision(revision) = stored.modified;
        match self.cluster.put(key, revision, stored.value.clone()) {
            Ok(change) => self.changes.push(change),
            Err(error) => tracing::warn!(%error, "an object cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use store::objects::{Expect, Options};

    use super::*;

    #[tokio::test]
    async fn what_was_there_and_what_came_since_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("kube.db");
        let objects = Objects::open_sqlite(&file, Options::default()).await.expect("a store");
        let write = async |name: &str, deleted: bool| {
            let object = json!({ "metadata": { "name": name, "namespace": "shop" } });
            let value = (!deleted).then(|| object.to_string().into());
            objects.write(&format!("/core/configmaps/shop/{name}"), Expect::Any, value).await.expect("it is written");
        };
        write("a", false).await;
        write("b", false).await;
        let view = View::open(&objects, Settings::default()).expect("a view");
        write("b", true).await;
        write("c", false).await;
        let told = |changes: Vec<Change>| -> Vec<(bool, bool)> {
            changes.iter().map(|change| (change.before.is_some(), change.after.is_some())).collect()
        };
        let names = |cluster: &Cluster| -> Vec<String> {
            cluster.objects().map(|object| object.reference.name().to_owned()).collect()
        };
        assert_eq!(names(&view.cluster()), ["a", "c"]);
        let (cluster, changes) = view.changes();
        assert_eq!(names(&cluster), ["a", "c"]);
        assert_eq!(told(changes), [(false, true), (false, true), (true, false), (false, true)]);
        assert_eq!(told(view.changes().1), []);
    }
}
