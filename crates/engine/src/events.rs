//! Events: what happened, to those who watch now, and the last ones to those who ask later.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use model::Event;
use tokio::sync::broadcast;

/// How many past events are kept for `since`.
const KEPT: usize = 1024;

/// A feed of events.
#[derive(Clone)]
pub struct Events {
    live: broadcast::Sender<Arc<Event>>,
    past: Arc<Mutex<VecDeque<Arc<Event>>>>,
}

impl Default for Events {
    fn default() -> Self {
        Self { live: broadcast::Sender::new(KEPT), past: Arc::default() }
    }
}

impl Events {
    /// Tells everybody who watches.
    pub fn emit(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(Arc::clone(&event));
        // Nobody watching is no error. Sent under the lock, so that `watch` misses and repeats nothing.
        let _ = self.live.send(event);
    }

    /// The events kept so far, and those from now on, without a gap.
    pub fn watch(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        (past.iter().cloned().collect(), self.live.subscribe())
    }
}
