//! nftables objects as values: rendered as `nft` text, compared, evaluated on a virtual packet here; encoded for netlink in `kernel`.
//!
//! Words are nft(8)'s. No rule is ever a string.

pub mod chain;
pub mod eval;
pub mod packed;
pub mod rule;
pub mod set;
pub mod table;
pub mod text;
pub mod value;

pub use chain::{Base, Chain, ChainKey, ChainType, Hook, Policy};
pub use packed::{Spans, Values};
pub use rule::{
    Action, CtState, CtStatus, Field, Hash, IcmpReject, MapKey, Marking, Match, NatFamily, NatTarget, Op, Rule,
};
pub use set::{Element, ElementData, ElementKey, Filled, MapVerdict, Set, SetData, SetKey, Span};
pub use table::{Family, Table, TableKey};
pub use value::{Datatype, Value};
