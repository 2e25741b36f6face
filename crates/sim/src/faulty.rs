//! A kernel that fails now and then.

use std::collections::BTreeSet;

use netstate::{Fault, Kernel, Key, NetState, Plan, Report};

/// Wraps a kernel and lets steps fail: operations of one nftables transaction together, others one by one.
#[derive(Debug)]
pub struct Faulty<K> {
    /// The kernel underneath.
    pub inner: K,
    when: When,
    effect: Effect,
    tries: u64,
}

/// Which steps fail. Steps are counted over the life of the kernel, from 0.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// Each with this probability, in thousandths; the same seed gives the same failures.
    Random {
        /// Of the sequence.
        seed: u64,
        /// Failures in a thousand.
        per_mille: u64,
    },
    /// This one.
    Nth(u64),
}

/// Whether a step that fails has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has not.
    Refused,
    /// It has, but nobody was told, as when the caller dies.
    CrashAfter,
}

impl<K> Faulty<K> {
    /// A kernel that fails like this.
    pub fn new(inner: K, when: When, effect: Effect) -> Self {
        Self { inner, when, effect, tries: 0 }
    }

    fn fails(&mut self) -> bool {
        let n = self.tries;
        self.tries += 1;
        match self.when {
            When::Random { seed, per_mille } => mix(seed.wrapping_add(n)) % 1000 < per_mille,
            When::Nth(nth) => n == nth,
        }
    }
}

impl<K: Kernel> Kernel for Faulty<K> {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.inner.observe(settings)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.inner.settings(settings)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let Some(step) = plan.steps().find(|_| self.fails()) else {
            return self.inner.apply(plan);
        };
        let end = match self.effect {
            Effect::Refused => step.start,
            Effect::CrashAfter => step.end,
        };
        let report = self.inner.apply(&Plan { ops: plan.ops[..end].to_vec() });
        if report.fault.is_some() {
            return report;
        }
        let what = plan.ops[step.start].to_string();
        let cause = "a fault was injected".to_owned();
        Report { done: step.start, fault: Some(Fault { what, errno: libc::EIO, cause, source: None }) }
    }
}

/// A well mixed number from a counter (splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
