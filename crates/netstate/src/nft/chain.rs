//! Chains with their rules. A chain is replaced whole, in one transaction, when any rule of it changes; what changes often is in sets.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{rule::Rule, table::TableKey};

/// Which chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChainKey {
    /// The table it is in.
    pub table: TableKey,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.table, self.name)
    }
}

/// A chain and its rules, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where packets enter; none for a chain that is only jumped to.
    pub base: Option<Base>,
    /// The rules, first to last.
    pub rules: Vec<Rule>,
}

/// How a base chain is hooked (nft(8), CHAINS).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The chain's type.
    pub kind: ChainType,
    /// The hook.
    pub hook: Hook,
    /// Order among the chains of the hook: the lower runs first.
    pub priority: i32,
    /// What happens to packets that pass every rule.
    pub policy: Policy,
}

/// Types of base chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChainType {
    /// `filter`
    Filter,
    /// `nat`: sees the first packet of a connection.
    Nat,
}

/// Hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// For this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
}

/// The end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Policy {
    /// Go on to the next chain of the hook.
    Accept,
    /// Drop the packet.
    Drop,
}
