//! A kernel that writes down what took effect.

use std::collections::BTreeSet;

use netstate::{Fault, Kernel, Key, NetState, Op, Plan, Report};

/// Wraps a kernel and keeps every operation that it carried out.
#[derive(Clone, Debug, Default)]
pub struct Recorder<K> {
    /// The kernel underneath.
    pub inner: K,
    /// What it did, first to last.
    pub ops: Vec<Op>,
}

impl<K> Recorder<K> {
    /// Nothing recorded yet.
    pub fn new(inner: K) -> Self {
        Self { inner, ops: Vec::new() }
    }
}

impl<K: Kernel> Kernel for Recorder<K> {
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.inner.observe(settings)
    }

    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault> {
        self.inner.settings(settings)
    }

    fn apply(&mut self, plan: &Plan) -> Report {
        let report = self.inner.apply(plan);
        self.ops.extend_from_slice(&plan.ops[..report.done]);
        report
    }
}
