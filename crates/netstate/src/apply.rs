//! Plans, and what a kernel (the real one, the fake one) does with them.

use std::{collections::BTreeSet, error::Error as StdError, fmt, ops::Range};

use thiserror::Error;

use crate::state::{Key, NetState, Object};

/// One operation. It carries all it needs, so that the applier decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make an object that is absent.
    Create {
        /// Which.
        key: Key,
        /// How it must be.
        object: Object,
    },
    /// Change an object in place.
    Change {
        /// Which.
        key: Key,
        /// How it is.
        from: Object,
        /// How it must be.
        to: Object,
    },
    /// Remove an object; one that is already gone counts as removed.
    Delete {
        /// Which.
        key: Key,
        /// How it is.
        object: Object,
        /// Keys that the kernel removes with it (a bridge's addresses, a namespace's links).
        with: BTreeSet<Key>,
    },
}

/// Operations in the order they must happen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// First to last.
    pub ops: Vec<Op>,
}

impl Op {
    /// What it is about.
    pub fn key(&self) -> &Key {
        match self {
            Self::Create { key, .. } | Self::Change { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// In words, as in "create link host:docker0".
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self {
            Self::Create { .. } => "create",
            Self::Change { .. } => "change",
            Self::Delete { .. } => "delete",
        };
        write!(f, "{verb} {}", self.key())
    }
}

impl Plan {
    /// The operations that happen or fail together, as ranges of `ops`: neighbours in one nftables table are one transaction, everything
    /// else stands alone.
    pub fn steps(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        std::iter::from_fn(move || {
            let first = self.ops.get(start)?.key().table();
            let together = |op: &&Op| first.is_some() && op.key().table() == first;
            let more = self.ops[start + 1..].iter().take_while(together).count();
            let step = start..start + 1 + more;
            start = step.end;
            Some(step)
        })
    }
}

/// How far a plan came. Operations happen in order; the first that fails ends the run, so what was done is a prefix.
#[derive(Debug)]
pub struct Report {
    /// How many operations of the plan are in effect.
    pub done: usize,
    /// Why the next one is not.
    pub fault: Option<Fault>,
}

/// A refusal by the kernel.
#[derive(Debug, Error)]
#[error("cannot {what}: {cause}")]
pub struct Fault {
    /// The operation in words, as in "create link host:docker0".
    pub what: String,
    /// The errno (errno(3)), positive.
    pub errno: i32,
    /// The kernel's words, and the likely cause with what to do.
    pub cause: String,
    /// The error underneath, if any.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Something that has network state and can be changed: Linux, or a fake of it.
pub trait Kernel: Send {
    /// Tells which rules to expect: a rule reads back as its hash only, and is recognized by it.
    fn expect(&mut self, desired: &NetState) {
        let _ = desired;
    }

    /// All that linkspan owns in the host's namespace and in each of its own, and the current value of the settings asked for.
    fn observe(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault>;

    /// The current value of these settings; those that are not there are left out.
    fn settings(&mut self, settings: &BTreeSet<Key>) -> Result<NetState, Fault>;

    /// Carries the plan out, in order, until the first failure.
    fn apply(&mut self, plan: &Plan) -> Report;
}
