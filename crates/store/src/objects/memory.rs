//! Where reads come from. One writer replaces the world; readers never wait for it, and watches are told when the new one concerns them.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    Compacted, ObjectsError, Options, Revision, Snapshot, Watch,
    watch::{Place, Told},
    world::World,
};

/// The newest world and who waits for the next.
pub(super) struct Memory {
    pub options: Options,
    world: ArcSwap<World>,
    newest: watch::Sender<Revision>,
    places: Mutex<Vec<Weak<Place>>>,
    /// Past snapshots that were asked for, oldest first.
    kept: Mutex<VecDeque<Kept>>,
    closed: AtomicBool,
}

struct Kept {
    asked: Revision,
    snapshot: Snapshot,
    until_ms: u64,
}

impl Memory {
    pub fn new(world: World, options: Options) -> Arc<Self> {
        Arc::new(Self {
            newest: watch::Sender::new(world.snapshot.revision),
            world: ArcSwap::from_pointee(world),
            options,
            places: Mutex::default(),
            kept: Mutex::default(),
            closed: AtomicBool::new(false),
        })
    }

    pub fn world(&self) -> Arc<World> {
        self.world.load_full()
    }

    pub fn revision(&self) -> Revision {
        *self.newest.borrow()
    }

    /// Replaces the world. Only one task may do this.
    pub fn publish(&self, next: World) {
        let next = Arc::new(next);
        let before = self.world.swap(Arc::clone(&next));
        self.each_place(|place| place.offer(&next, before.end()));
        self.newest.send_replace(next.snapshot.revision);
    }

    /// Ends all watches.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.each_place(Place::close);
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn each_place(&self, tell: impl Fn(&Place)) {
        lock(&self.places).retain(|place| place.upgrade().inspect(|place| tell(place)).is_some());
    }

    /// Waits for a revision.
    pub async fn wait_for(&self, asked: Revision, patience: Duration) -> Result<Snapshot, ObjectsError> {
        let mut newest = self.newest.subscribe();
        let arrived = newest.wait_for(|newest| *newest >= asked);
        match tokio::time::timeout(patience, arrived).await {
            Ok(Ok(_)) => Ok(self.world().snapshot.clone()),
            Ok(Err(_)) => Err(ObjectsError::Closed),
            Err(_) => Err(ObjectsError::Ahead { asked, newest: self.revision() }),
        }
    }

    /// The objects at a past revision: as kept, or as the history tells.
    pub fn snapshot_at(&self, asked: Revision) -> Result<Snapshot, Compacted> {
        let world = self.world.load();
        if asked == world.snapshot.revision {
            return Ok(world.snapshot.clone());
        }
        let now_ms = (self.options.clock)();
        let mut kept = lock(&self.kept);
        kept.retain(|kept| kept.until_ms > now_ms);
        if let Some(kept) = kept.iter().find(|kept| kept.asked == asked) {
            return Ok(kept.snapshot.clone());
        }
        let snapshot = world.at(asked)?;
        if kept.len() >= self.options.keep.snapshots {
            kept.pop_front();
        }
        kept.push_back(Kept { asked, snapshot: snapshot.clone(), until_ms: now_ms + self.options.keep.age_ms });
        Ok(snapshot)
    }

    pub fn watch(self: &Arc<Self>, prefix: &str, after: Revision) -> Result<Watch, Compacted> {
        let place = Arc::new(Place::new(prefix, self.world.load().place_after(after)?));
        lock(&self.places).push(Arc::downgrade(&place));
        if self.is_closed() {
            place.close();
        }
        Ok(Watch::new(Arc::clone(self), place, after))
    }

    /// What a watch is to be told next.
    pub fn look(&self, place: &Place) -> Told {
        place.look(&self.world)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("revision", &self.revision()).finish_non_exhaustive()
    }
}

/// Nothing that is done under these locks can leave them half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
