//! The state of a host: every object by its key. The same type holds what is desired and what is observed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    addr::{Addr, AddrKey},
    link::{Link, LinkKey},
    netns::{Netns, NetnsName},
    nft::{Chain, ChainKey, Element, ElementKey, Set, SetKey, Table, TableKey},
    route::{Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};

/// Which object. The order of the variants is the order of creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A network namespace.
    Netns(NetnsName),
    /// A link.
    Link(LinkKey),
    /// A setting.
    Sysctl(SysctlKey),
    /// An address.
    Addr(AddrKey),
    /// A route.
    Route(RouteKey),
    /// An nftables table.
    Table(TableKey),
    /// An nftables set or map.
    Set(SetKey),
    /// An nftables chain with its rules.
    Chain(ChainKey),
    /// An element of a set or map.
    Element(ElementKey),
}

/// An object's content; the variant is that of its [`Key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A network namespace.
    Netns(Netns),
    /// A link.
    Link(Link),
    /// A setting.
    Sysctl(Sysctl),
    /// An address.
    Addr(Addr),
    /// A route.
    Route(Route),
    /// An nftables table.
    Table(Table),
    /// An nftables set or map.
    Set(Set),
    /// An nftables chain with its rules.
    Chain(Chain),
    /// An element of a set or map.
    Element(Element),
}

/// Objects by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// The objects, in order of creation.
    pub objects: BTreeMap<Key, Object>,
}
