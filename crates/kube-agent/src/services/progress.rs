//! How far the host is as the API has it, in the numbers that kube-proxy tells.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// For so long what waits is not late (twice kube-proxy's period).
const PATIENCE: Duration = Duration::from_secs(60);

/// How far the host is.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Numbers>);

/// The numbers at a moment.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Changes of services that were heard of, and those of them that are not in effect.
    pub services: Changes,
    /// The same of endpoints.
    pub endpoints: Changes,
    /// How long it took to bring changes into effect, seconds.
    pub syncs: Histogram,
    /// How long it was from the change of an endpoint to its effect, seconds.
    pub programming: Histogram,
    /// How often it had to be tried again.
    pub failures: u64,
    /// When changes last came into effect.
    pub last_sync: Option<Timestamp>,
    /// When changes last came.
    pub last_queued: Option<Timestamp>,
    /// Answers of `/healthz`: good ones, others.
    pub healthz: [u64; 2],
    /// The same of `/livez`.
    pub livez: [u64; 2],
    waits_since: Option<Instant>,
}

/// Changes of one kind of objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// All so far.
    pub total: u64,
    /// Not in effect.
    pub pending: u64,
}

/// How often something was how much.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Upper bounds, and how many were up to each and above the one before.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// All together.
    pub sum: f64,
}

impl Progress {
    /// Changes have come.
    pub fn queued(&self, services: u64, endpoints: u64) {
        let mut numbers = self.lock();
        numbers.services.add(services);
        numbers.endpoints.add(endpoints);
        numbers.last_queued = Some(Timestamp::now());
        numbers.waits_since.get_or_insert_with(Instant::now);
    }

    /// All that has come is in effect. `triggered` is when some of it was changed.
    pub fn done(&self, took: Duration, triggered: &[Timestamp]) {
        let now = Timestamp::now();
        let mut numbers = self.lock();
        (numbers.services.pending, numbers.endpoints.pending) = (0, 0);
        numbers.syncs.observe(took.as_secs_f64());
        for at in triggered {
            numbers.programming.observe(now.duration_since(*at).as_secs_f64().max(0.0));
        }
        (numbers.last_sync, numbers.waits_since) = (Some(now), None);
    }

    /// It must be tried again.
    pub fn failed(&self) {
        self.lock().failures += 1;
    }

    /// Whether nothing waits for too long.
    pub fn is_healthy(&self) -> bool {
        self.lock().waits_since.is_none_or(|since| since.elapsed() < PATIENCE)
    }

    /// Counts an answer.
    pub fn answered(&self, of: impl FnOnce(&mut Numbers) -> &mut [u64; 2], good: bool) {
        of(&mut self.lock())[usize::from(!good)] += 1;
    }

    /// The numbers now.
    pub fn numbers(&self) -> Numbers {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn add(&mut self, more: u64) {
        self.total += more;
        self.pending += more;
    }
}

impl Default for Numbers {
    /// None yet, in kube-proxy's buckets.
    fn default() -> Self {
        let doubling = (0..15).map(|n| 0.001 * f64::from(1 << n));
        let quarters = [0.25, 0.5].into_iter();
        let seconds = (1..60).map(f64::from).chain((0..12).map(|n| f64::from(60 + 5 * n)));
        let minutes = (0..7).map(|n| f64::from(120 + 30 * n));
        Self {
            services: Changes::default(),
            endpoints: Changes::default(),
            syncs: Histogram::new(doubling),
            programming: Histogram::new(quarters.chain(seconds).chain(minutes)),
            failures: 0,
            last_sync: None,
            last_queued: None,
            healthz: [0; 2],
            livez: [0; 2],
            waits_since: None,
        }
    }
}

impl Histogram {
    fn new(bounds: impl Iterator<Item = f64>) -> Self {
        Self { buckets: bounds.map(|bound| (bound, 0)).collect(), count: 0, sum: 0.0 }
    }

    fn observe(&mut self, value: f64) {
        if let Some((_, count)) = self.buckets.iter_mut().find(|(bound, _)| value <= *bound) {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted_until_it_is_in_effect() {
        let progress = Progress::default();
        progress.queued(2, 3);
        progress.queued(0, 1);
        progress.failed();
        let numbers = progress.numbers();
        let pending = |numbers: &Numbers| [numbers.services.pending, numbers.endpoints.pending];
        assert_eq!(pending(&numbers), [2, 4]);
        assert!(numbers.last_sync.is_none() && progress.is_healthy());
        progress.done(Duration::from_millis(3), &[Timestamp::now()]);
        let numbers = progress.numbers();
        assert_eq!(pending(&numbers), [0, 0]);
        assert_eq!([numbers.services.total, numbers.endpoints.total, numbers.failures], [2, 4, 1]);
        // 3 ms are above 2 and below 4.
        assert_eq!(numbers.syncs.buckets.iter().position(|(_, count)| *count == 1), Some(2));
        assert_eq!((numbers.syncs.count, numbers.programming.count), (1, 1));
        assert!(numbers.last_sync.is_some());
    }
}
