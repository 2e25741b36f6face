//! What is served: the objects and what lately happened to them, as one value that is replaced by its successor.

use std::sync::Arc;

use imbl::Vector;

use super::{Compacted, Event, Keep, Revision, Snapshot};

/// The objects and what lately happened to them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub snapshot: Snapshot,
    history: Vector<Entry>,
    /// The place of the oldest event. Events are numbered as they come, from 0; what is before this place was forgotten.
    first: u64,
    /// What is before this place was lost when the objects were listed anew.
    listed: u64,
    /// All events after this revision are in the history.
    compacted: Revision,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    event: Arc<Event>,
    at_ms: u64,
}

impl World {
    /// What was read from where it is kept.
    pub fn new(snapshot: Snapshot, compacted: Revision) -> Self {
        Self { snapshot, compacted, ..Self::default() }
    }

    /// Adds an event that is in the snapshot already.
    pub fn remember(&mut self, event: Event, at_ms: u64) {
        self.bytes += cost(&event);
        self.history.push_back(Entry { event: Arc::new(event), at_ms });
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event, at_ms: u64) {
        self.snapshot.apply(&event);
        self.remember(event, at_ms);
    }

    /// Forgets what is too old or too much. It waits for an eighth to come together, so that this is rare.
    pub fn compact(&mut self, now_ms: u64, keep: &Keep) {
        if !self.exceeds(now_ms, &keep.with_slack()) {
            return;
        }
        while self.exceeds(now_ms, keep) {
            let Some(Entry { event, .. }) = self.history.pop_front() else { return };
            self.bytes -= cost(&event);
            self.first += 1;
            self.compacted = event.revision();
        }
    }

    fn exceeds(&self, now_ms: u64, keep: &Keep) -> bool {
        let Some(oldest) = self.history.front() else { return false };
        self.history.len() > keep.events || self.bytes > keep.bytes || now_ms.saturating_sub(oldest.at_ms) > keep.age_ms
    }

    /// The objects listed anew, when what happened in between cannot be known: a watch that has not yet told the newest event of this
    /// world has lost its place.
    pub fn relisted(&self, snapshot: Snapshot) -> Self {
        let compacted = snapshot.revision;
        let first = self.end() + 1;
        Self { first, listed: first, ..Self::new(snapshot, compacted) }
    }

    /// Nothing happened up to this revision.
    pub fn advance(&mut self, revision: Revision) {
        self.snapshot.revision = self.snapshot.revision.max(revision);
    }

    /// The place of the oldest event.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The place after the last relisting.
    pub fn listed(&self) -> u64 {
        self.listed
    }

    /// The place after the newest event.
    pub fn end(&self) -> u64 {
        self.first + self.history.len() as u64
    }

    pub fn compacted(&self) -> Revision {
        self.compacted
    }

    /// The event at a place, and how old.
    pub fn event(&self, place: u64) -> Option<(&Arc<Event>, u64)> {
        let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.history.get(index).map(|entry| (&entry.event, entry.at_ms))
    }

    /// The place of the first event that concerns a prefix, from a place on.
    pub fn find(&self, from: u64, prefix: &str) -> Option<u64> {
        (from..self.end()).find(|place| self.event(*place).is_some_and(|(event, _)| event.key().starts_with(prefix)))
    }

    /// The place of the first event after a revision.
    pub fn place_after(&self, revision: Revision) -> Result<u64, Compacted> {
        if revision < self.compacted {
            return Err(Compacted { asked: revision, oldest: self.compacted });
        }
        let (mut low, mut high) = (self.first, self.end());
        while low < high {
            let middle = low.midpoint(high);
            if self.event(middle).is_some_and(|(event, _)| event.revision() <= revision) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The objects as they were at a revision that is not after this world's.
    pub fn at(&self, revision: Revision) -> Result<Snapshot, Compacted> {
        let place = self.place_after(revision)?;
        let mut snapshot = self.snapshot.clone();
        for (event, _) in (place..self.end()).rev().filter_map(|place| self.event(place)) {
            snapshot.revert(event);
        }
        snapshot.revision = snapshot.revision.min(revision);
        Ok(snapshot)
    }
}

/// What remembering an event costs, in bytes: the values that nothing else holds, and the bookkeeping.
fn cost(event: &Event) -> usize {
    const BOOKKEEPING: usize = 200;
    BOOKKEEPING + event.key().len() + event.before().map_or(0, |before| before.value.len())
}
