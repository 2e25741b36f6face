//! A watch is a place in the common history, so it has no queue of its own: it costs the same whether it is read or not, the events are
//! shared by all, and who is too slow finds that the history no longer reaches back to its place.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    CutOff, Event, Revision,
    memory::{Memory, lock},
    world::World,
};

/// Tells what happens to the objects under a prefix, in order, without gaps or repetitions.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<Memory>,
    place: Arc<Place>,
    after: Revision,
    told: Revision,
    progress: Option<Interval>,
}

impl Watch {
    pub(super) fn new(memory: Arc<Memory>, place: Arc<Place>, after: Revision) -> Self {
        Self { memory, place, after, told: after, progress: None }
    }

    /// Also tells [`Event::Progress`] at this interval when nothing else is to be told.
    #[must_use]
    pub fn with_progress(mut self, every: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.progress = Some(ticks);
        self
    }

    /// The next event. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Arc<Event>, CutOff> {
        let mut due = false;
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            if due {
                return Ok(Arc::new(Event::Progress(self.told)));
            }
            let tick = async {
                match &mut self.progress {
                    Some(ticks) => ticks.tick().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.place.wake.notified() => {}
                _ = tick => due = true,
            }
        }
    }

    /// The next event, if it is there.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, CutOff> {
        loop {
            match self.memory.look(&self.place) {
                Told::Event(event) if event.revision() <= self.after => {}
                Told::Event(event) => {
                    self.told = event.revision();
                    return Ok(Some(event));
                }
                Told::All(revision) => {
                    self.told = self.told.max(revision);
                    return Ok(None);
                }
                Told::CutOff(why) => return Err(why),
            }
        }
    }

    /// All up to this revision was told.
    #[must_use]
    pub fn told(&self) -> Revision {
        self.told
    }
}

/// Where a watch stands.
#[derive(Debug)]
pub(super) struct Place {
    prefix: Box<str>,
    stand: Mutex<Stand>,
    wake: Notify,
}

#[derive(Debug, Clone, Copy)]
enum Stand {
    /// All before this place of the history was told, or does not concern the prefix.
    At(u64),
    Closed,
}

/// What a watch is to be told.
pub(super) enum Told {
    Event(Arc<Event>),
    /// Nothing more: all up to this revision was told.
    All(Revision),
    CutOff(CutOff),
}

impl Place {
    pub fn new(prefix: &str, at: u64) -> Self {
        Self { prefix: prefix.into(), stand: Mutex::new(Stand::At(at)), wake: Notify::new() }
    }

    /// A new world is there, which has new events from this place on. Who was told everything and is not concerned moves on unasked, so
    /// that history may be forgotten behind it.
    pub fn offer(&self, world: &World, fresh: u64) {
        let mut stand = lock(&self.stand);
        let Stand::At(at) = *stand else { return };
        if at == fresh && world.first() <= fresh && world.find(fresh, &self.prefix).is_none() {
            *stand = Stand::At(world.end());
        } else if at < world.end() {
            self.wake.notify_one();
        }
    }

    pub fn close(&self) {
        *lock(&self.stand) = Stand::Closed;
        self.wake.notify_one();
    }

    pub fn look(&self, world: &ArcSwap<World>) -> Told {
        let mut stand = lock(&self.stand);
        let Stand::At(at) = *stand else { return Told::CutOff(CutOff::Closed) };
        // Loaded under the lock: a world that was offered before is seen.
        let world = world.load();
        if at < world.first() {
            return Told::CutOff(if at < world.listed() { CutOff::Relisted } else { CutOff::Slow });
        }
        let found = world.find(at, &self.prefix).and_then(|place| Some((place, world.event(place)?.0)));
        if let Some((place, event)) = found {
            *stand = Stand::At(place + 1);
            return Told::Event(Arc::clone(event));
        }
        *stand = Stand::At(world.end());
        Told::All(world.snapshot.revision)
    }
}
