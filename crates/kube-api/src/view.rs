//! The objects as the controllers see them, kept up with the store. Whoever looks sees all that was written before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use store::objects::{CutOff, Event, Objects, Revision, Stored, Watch};

use crate::controller::{Change, Cluster, cluster::Settings};

/// The objects as the controllers see them.
pub struct View(Mutex<Seen>);

struct Seen {
    cluster: Cluster,
    watch: Watch,
    changes: Vec<Change>,
}

impl View {
    /// Reads all objects. They are the first changes.
    pub fn open(objects: &Objects, settings: Settings) -> Result<Self, store::objects::Compacted> {
        let snapshot = objects.cached();
        let watch = objects.watch("/", snapshot.revision)?;
        let mut seen = Seen { cluster: Cluster::new(settings), watch, changes: Vec::new() };
        for (key, stored) in snapshot.range("/", None) {
            seen.put(key, stored);
        }
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

    // Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn catch_up(&mut self) {
        loop {
            match self.watch.try_next() {
                Ok(Some(event)) => self.take(&event),
                Ok(None) | Err(CutOff::Closed) => return,
                // It is asked far more often than history is forgotten; if not, the next start reads all.
                Err(why) => {
                    tracing::error!(%why, "the controllers have lost sight of the objects");
                    return;
                }
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
