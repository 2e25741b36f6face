//! Who may stay when many come. Those whom the server knows have room; strangers have less, and the one who has been one for longest makes
//! room for the next. So clients that open connections and say nothing, or nothing that is of use, keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// How many connections there are at a time.
const MOST: usize = 8192;
/// How many of them may be strangers.
const STRANGERS: usize = 1024;

/// All connections; clones share it.
#[derive(Clone, Default)]
pub struct Crowd(Arc<Mutex<Present>>);

#[derive(Default)]
struct Present {
    /// Everybody who ever came.
    numbered: u64,
    /// Those who are here.
    here: usize,
    /// Those whom nobody knows, in the order in which they came.
    strangers: BTreeMap<u64, Option<AbortHandle>>,
}

/// The place of a connection; it is free again when this is dropped.
pub struct Ticket {
    crowd: Crowd,
    number: u64,
}

impl Crowd {
    /// A place for a stranger; none when all are taken by those whom the server knows.
    pub fn enter(&self) -> Option<Ticket> {
        let mut present = self.lock();
        if present.strangers.len() >= STRANGERS
            && let Some((_, Some(oldest))) = present.strangers.pop_first()
        {
            oldest.abort();
        }
        if present.here >= MOST {
            return None;
        }
        present.here += 1;
        present.numbered += 1;
        let number = present.numbered;
        present.strangers.insert(number, None);
        Some(Ticket { crowd: self.clone(), number })
    }

    /// What ends a stranger's connection.
    pub fn ends_by(&self, number: u64, task: AbortHandle) {
        if let Some(stranger) = self.lock().strangers.get_mut(&number) {
            *stranger = Some(task);
        }
    }

    /// The server knows who this is.
    pub fn knows(&self, number: u64) {
        self.lock().strangers.remove(&number);
    }

    // Nothing panics while it is held.
    fn lock(&self) -> std::sync::MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Which connection it is.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut present = self.crowd.lock();
        present.here -= 1;
        present.strangers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn strangers_make_room_for_strangers_and_who_is_known_stays() {
        let crowd = Crowd::default();
        let mut tasks = Vec::new();
        let mut come = |known: bool| {
            let ticket = crowd.enter()?;
            let number = ticket.number();
            let task = tokio::spawn(async move {
                let _here = ticket;
                std::future::pending::<()>().await;
            });
            crowd.ends_by(number, task.abort_handle());
            if known {
                crowd.knows(number);
            }
            tasks.push(task);
            Some(number)
        };
        for _ in 0..10 {
            come(true).unwrap();
        }
        for _ in 0..3 * STRANGERS {
            come(false).unwrap();
        }
        // Who was aborted ends when the runtime has looked.
        while crowd.lock().here > STRANGERS + 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(crowd.lock().here, STRANGERS + 10);
        assert!(tasks[..10].iter().all(|known| !known.is_finished()));
        assert!(tasks[10..10 + 2 * STRANGERS].iter().all(|stranger| stranger.is_finished()));
        while let Some(number) = crowd.enter().map(|ticket| {
            let number = ticket.number();
            std::mem::forget(ticket);
            number
        }) {
            crowd.knows(number);
        }
        assert_eq!(crowd.lock().here, MOST, "and no more than there is room for");
    }
}
