//! The state of a host: every object by its key. The same type holds what is desired and what is observed.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    addr::{Addr, AddrKey},
    link::{Link, LinkKey},
    netns::{Netns, NetnsName},
    nft::{Chain, ChainKey, Element, ElementKey, Set, SetKey, Table, TableKey},
    route::{Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};

/// Which object. The order of the variants is the order of creation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    Set(Arc<SetKey>),
    /// An nftables chain with its rules.
    Chain(ChainKey),
    /// An element of a set or map.
    Element(ElementKey),
}

/// An object's content; the variant is that of its [`Key`]. Elements are many and small: what is larger has memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A network namespace.
    Netns(Netns),
    /// A link.
    Link(Box<Link>),
    /// A setting.
    Sysctl(Box<Sysctl>),
    /// An address.
    Addr(Addr),
    /// A route.
    Route(Box<Route>),
    /// An nftables table.
    Table(Table),
    /// An nftables set or map.
    Set(Box<Set>),
    /// An nftables chain with its rules.
    Chain(Box<Chain>),
    /// An element of a set or map.
    Element(Element),
}

/// Objects by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetState {
    /// The objects, in order of creation.
    pub objects: BTreeMap<Key, Object>,
}

impl NetState {
    /// Adds an object, or replaces the one of that key. The key's variant must be the object's.
    pub fn put(&mut self, key: impl Into<Key>, object: impl Into<Object>) -> &mut Self {
        self.objects.insert(key.into(), object.into());
        self
    }

    /// Adds objects, or replaces those of their keys.
    pub fn put_all(&mut self, mut objects: BTreeMap<Key, Object>) {
        if objects.len() > self.objects.len() / 4 {
            // Made anew, the map is without room that nobody uses.
            self.objects.append(&mut objects);
        } else {
            self.objects.extend(objects);
        }
    }
}

impl Key {
    /// The namespace the object is in; a namespace's own name.
    pub fn netns(&self) -> &NetnsName {
        match self {
            Self::Netns(name) => name,
            Self::Link(key) => &key.netns,
            Self::Sysctl(key) => &key.netns,
            Self::Addr(key) => &key.link.netns,
            Self::Route(key) => &key.netns,
            Self::Table(key) => &key.netns,
            Self::Set(key) => &key.table.netns,
            Self::Chain(key) => &key.table.netns,
            Self::Element(key) => &key.set.table.netns,
        }
    }

    /// The nftables table the object is or belongs to.
    pub fn table(&self) -> Option<&TableKey> {
        match self {
            Self::Table(key) => Some(key),
            Self::Set(key) => Some(&key.table),
            Self::Chain(key) => Some(&key.table),
            Self::Element(key) => Some(&key.set.table),
            _ => None,
        }
    }
}

/// As `ip` and `nft` name it: the kind, then which.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Netns(key) => write!(f, "netns {key}"),
            Self::Link(key) => write!(f, "link {key}"),
            Self::Sysctl(key) => write!(f, "sysctl {key}"),
            Self::Addr(key) => write!(f, "address {key}"),
            Self::Route(key) => write!(f, "route {key}"),
            Self::Table(key) => write!(f, "table {key}"),
            Self::Set(key) => write!(f, "set {key}"),
            Self::Chain(key) => write!(f, "chain {key}"),
            Self::Element(key) => write!(f, "element {key}"),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident: $key:ty => $object:ty),* $(,)?) => {$(
        impl From<$key> for Key {
            fn from(key: $key) -> Self {
                Self::$kind(key.into())
            }
        }

        impl From<$object> for Object {
            fn from(object: $object) -> Self {
                Self::$kind(object.into())
            }
        }
    )*};
}

kinds! {
    Netns: NetnsName => Netns,
    Link: LinkKey => Link,
    Sysctl: SysctlKey => Sysctl,
    Addr: AddrKey => Addr,
    Route: RouteKey => Route,
    Table: TableKey => Table,
    Set: SetKey => Set,
    Chain: ChainKey => Chain,
    Element: ElementKey => Element,
}
