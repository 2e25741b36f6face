//! Typed look-ups in a [`NetState`]. Each costs its answer, not the size of the state.

use std::{net::Ipv4Addr, sync::Arc};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    addr::AddrKey,
    link::{IfName, Link, LinkKey},
    netns::NetnsName,
    nft::{Chain, ChainKey, Element, ElementKey, Family, Set, SetKey, Spans, TableKey},
    route::{Route, RouteKey},
    state::{Key, NetState, Object},
    sysctl::{PER_LINK, SysctlKey},
};

/// Sorts before every address.
fn lowest_address() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0))
}

impl NetState {
    /// Whether there is an object of that key.
    pub fn has(&self, key: &Key) -> bool {
        self.objects.contains_key(key)
    }

    /// A link.
    pub fn link(&self, key: &LinkKey) -> Option<&Link> {
        match self.objects.get(&Key::Link(key.clone())) {
            Some(Object::Link(link)) => Some(link),
            _ => None,
        }
    }

    /// A route.
    pub fn route(&self, key: &RouteKey) -> Option<&Route> {
        match self.objects.get(&Key::Route(key.clone())) {
            Some(Object::Route(route)) => Some(route),
            _ => None,
        }
    }

    /// The value of a setting, if it is known.
    pub fn sysctl(&self, netns: &NetnsName, path: &str) -> Option<&str> {
        let key = SysctlKey { netns: netns.clone(), path: path.to_owned() };
        match self.objects.get(&Key::Sysctl(key)) {
            Some(Object::Sysctl(sysctl)) => Some(&sysctl.value),
            _ => None,
        }
    }

    /// A set or map.
    pub fn set(&self, key: &SetKey) -> Option<&Set> {
        match self.objects.get(&key.clone().into()) {
            Some(Object::Set(set)) => Some(set),
            _ => None,
        }
    }

    /// A chain.
    pub fn chain(&self, key: &ChainKey) -> Option<&Chain> {
        match self.objects.get(&Key::Chain(key.clone())) {
            Some(Object::Chain(chain)) => Some(chain),
            _ => None,
        }
    }

    /// An element of a set or map.
    pub fn element(&self, key: &ElementKey) -> Option<&Element> {
        match self.objects.get(&Key::Element(key.clone())) {
            Some(Object::Element(element)) => Some(element),
            _ => None,
        }
    }

    /// All namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &NetnsName> {
        self.objects.keys().map_while(|key| match key {
            Key::Netns(name) => Some(name),
            _ => None,
        })
    }

    /// The links of a namespace.
    pub fn links(&self, netns: &NetnsName) -> impl Iterator<Item = (&LinkKey, &Link)> {
        let start = LinkKey { netns: netns.clone(), name: IfName::LOWEST };
        self.objects.range(Key::Link(start)..).map_while(move |pair| match pair {
            (Key::Link(key), Object::Link(link)) if key.netns == *netns => Some((key, &**link)),
            _ => None,
        })
    }

    /// The links that are ports of a bridge. Costs the links of its namespace.
    pub fn ports(&self, bridge: &LinkKey) -> impl Iterator<Item = (&LinkKey, &Link)> {
        self.links(&bridge.netns).filter(|(_, link)| link.port.as_ref().is_some_and(|port| port.bridge == bridge.name))
    }

    /// The addresses of a namespace.
    pub fn addrs_in(&self, netns: &NetnsName) -> impl Iterator<Item = &AddrKey> {
        let start = AddrKey { link: LinkKey { netns: netns.clone(), name: IfName::LOWEST }, address: lowest_address() };
        self.objects.range(Key::Addr(start)..).map_while(move |(key, _)| match key {
            Key::Addr(key) if key.link.netns == *netns => Some(key),
            _ => None,
        })
    }

    /// The addresses of a link.
    pub fn addrs(&self, link: &LinkKey) -> impl Iterator<Item = &AddrKey> {
        let start = AddrKey { link: link.clone(), address: lowest_address() };
        self.objects.range(Key::Addr(start)..).map_while(move |(key, _)| match key {
            Key::Addr(key) if key.link == *link => Some(key),
            _ => None,
        })
    }

    /// The routes of a namespace.
    pub fn routes(&self, netns: &NetnsName) -> impl Iterator<Item = (&RouteKey, &Route)> {
        let start = RouteKey { netns: netns.clone(), table: 0, destination: lowest_address(), metric: 0 };
        self.objects.range(Key::Route(start)..).map_while(move |pair| match pair {
            (Key::Route(key), Object::Route(route)) if key.netns == *netns => Some((key, &**route)),
            _ => None,
        })
    }

    /// The routes that leave by a link. Costs the routes of its namespace.
    pub fn routes_by(&self, link: &LinkKey) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.routes(&link.netns).filter(|(_, route)| route.device == link.name)
    }

    /// The settings of a namespace.
    pub fn sysctls(&self, netns: &NetnsName) -> impl Iterator<Item = &SysctlKey> {
        self.sysctls_below(netns, String::new())
    }

    /// The settings of a link.
    pub fn sysctls_of(&self, link: &LinkKey) -> impl Iterator<Item = &SysctlKey> {
        PER_LINK.iter().flat_map(|directory| self.sysctls_below(&link.netns, format!("{directory}{}/", link.name)))
    }

    fn sysctls_below(&self, netns: &NetnsName, directory: String) -> impl Iterator<Item = &SysctlKey> {
        let start = SysctlKey { netns: netns.clone(), path: directory.clone() };
        let netns = netns.clone();
        self.objects.range(Key::Sysctl(start)..).map_while(move |(key, _)| match key {
            Key::Sysctl(key) if key.netns == netns && key.path.starts_with(&directory) => Some(key),
            _ => None,
        })
    }

    /// The nftables tables of a namespace.
    pub fn tables(&self, netns: &NetnsName) -> impl Iterator<Item = &TableKey> {
        let start = TableKey { netns: netns.clone(), family: Family::Inet };
        self.objects.range(Key::Table(start)..).map_while(move |(key, _)| match key {
            Key::Table(key) if key.netns == *netns => Some(key),
            _ => None,
        })
    }

    /// The sets and maps of a table.
    pub fn sets(&self, table: &TableKey) -> impl Iterator<Item = (&Arc<SetKey>, &Set)> {
        let start = SetKey { table: table.clone(), name: String::new() };
        self.objects.range(Key::from(start)..).map_while(move |pair| match pair {
            (Key::Set(key), Object::Set(set)) if key.table == *table => Some((key, &**set)),
            _ => None,
        })
    }

    /// The chains of a table.
    pub fn chains(&self, table: &TableKey) -> impl Iterator<Item = (&ChainKey, &Chain)> {
        let start = ChainKey { table: table.clone(), name: String::new() };
        self.objects.range(Key::Chain(start)..).map_while(move |pair| match pair {
            (Key::Chain(key), Object::Chain(chain)) if key.table == *table => Some((key, &**chain)),
            _ => None,
        })
    }

    /// The elements of a set or map.
    pub fn elements(&self, set: &SetKey) -> impl Iterator<Item = (&ElementKey, &Element)> {
        let start = ElementKey { set: Arc::new(set.clone()), key: Spans::default() };
        self.objects.range(Key::Element(start)..).map_while(move |pair| match pair {
            (Key::Element(key), Object::Element(element)) if *key.set == *set => Some((key, element)),
            _ => None,
        })
    }
}
