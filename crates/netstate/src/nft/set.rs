//! Sets and maps, and their elements. An element is an object of its own, so that a change of one costs one.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    packed::{Spans, Values},
    table::TableKey,
    value::{Datatype, Value},
};

/// Which set or map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetKey {
    /// The table it is in.
    pub table: TableKey,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// A set, or a map when it has data. A concatenation has several key types.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The types of the key's fields, in order.
    pub key: Vec<Datatype>,
    /// What an element holds.
    pub data: SetData,
    /// Whether a key's field may be a range (`flags interval`).
    pub interval: bool,
    /// Who puts elements into it.
    pub filled: Filled,
}

/// Who puts elements into a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filled {
    /// We do.
    #[default]
    ByUs,
    /// Packets, through rules, for some time (`flags dynamic,timeout`). Its elements are nobody's wish, and are not looked at.
    ByPackets,
}

/// What the elements of a set hold besides their key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetData {
    /// Nothing: a plain set.
    None,
    /// Values of these types, concatenated.
    Values(Vec<Datatype>),
    /// What becomes of a packet.
    Verdict,
}

/// One field of an element's key: a value, or an inclusive range of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first value.
    pub first: Value,
    /// The last value; the same for a single one.
    pub last: Value,
}

impl From<Value> for Span {
    fn from(value: Value) -> Self {
        Self { first: value.clone(), last: value }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// Which element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ElementKey {
    /// The set it is in.
    pub set: Arc<SetKey>,
    /// One span for each field of the set's key.
    pub key: Spans,
}

impl Ord for ElementKey {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most often both name the set by the same memory.
        let sets = if Arc::ptr_eq(&self.set, &other.set) { Ordering::Equal } else { self.set.cmp(&other.set) };
        sets.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for ElementKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ElementKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.set, self.key)
    }
}

/// An element's content. An element whose data changes is deleted and added in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// The data, as the set's [`SetData`] says; `None` in a plain set.
    pub data: ElementData,
}

/// What an element holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ElementData {
    /// Nothing.
    #[default]
    None,
    /// Values, in the order of the set's data types.
    Values(Values),
    /// What becomes of a packet.
    Verdict(MapVerdict),
}

/// What an element says becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapVerdict {
    /// Drop it for good.
    Drop,
    /// Call a chain of the table.
    Jump(Box<str>),
}
