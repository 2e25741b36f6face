//! What is counted. Each thread has its own, so that counting costs nothing; they are added up when somebody looks.

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::Duration,
};

/// A number that goes up, and some down.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicI64);

impl Counter {
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper bounds of how long answers took, in milliseconds.
pub(super) const BUCKETS: [u64; 11] = [1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000, 30_000];

/// The numbers of one thread.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub connections: Counter,
    pub open: Counter,
    pub not_begun: Counter,
    pub slow: Counter,
    /// By the first digit of the status.
    pub requests: [Counter; 6],
    pub under_way: Counter,
    /// Answered by the gateway itself.
    pub refused: Counter,
    pub retries: Counter,
    pub connects: Counter,
    pub connects_failed: Counter,
    pub tunnels: Counter,
    pub took: [Counter; BUCKETS.len() + 1],
    pub took_us: Counter,
}

impl Counters {
    /// A request ended.
    pub fn request(&self, status: u16, took: Duration) {
        let class = usize::from(status / 100).min(5);
        self.requests[class].add(1);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|bound| took_ms < *bound).unwrap_or(BUCKETS.len());
        self.took[bucket].add(1);
        self.took_us.add(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
    }
}
