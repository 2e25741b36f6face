//! Who needs whom, and who goes with whom.

use crate::{
    addr::AddrKey,
    link::{LinkKey, LinkKind},
    nft::{ChainKey, Rule, SetKey, TableKey},
    state::{Key, NetState, Object},
};

/// What the kernel removes when it removes `key`, one generation. A bridge's ports are not among them, they are only detached.
pub(super) fn children(state: &NetState, key: &Key) -> Vec<Key> {
    match key {
        Key::Netns(netns) => {
            let links = state.links(netns).map(|(key, _)| Key::Link(key.clone()));
            let settings = state.sysctls(netns).cloned().map(Key::Sysctl);
            let addrs = state.addrs_in(netns).cloned().map(Key::Addr);
            let routes = state.routes(netns).map(|(key, _)| Key::Route(key.clone()));
            let tables = state.tables(netns).cloned().map(Key::Table);
            links.chain(settings).chain(addrs).chain(routes).chain(tables).collect()
        }
        Key::Link(link) => {
            let settings = state.sysctls_of(link).cloned().map(Key::Sysctl);
            let addrs = state.addrs(link).cloned().map(Key::Addr);
            let routes = state.routes_by(link).map(|(key, _)| Key::Route(key.clone()));
            let other_end = state.objects.get(key).and_then(other_end).filter(|key| state.has(key));
            settings.chain(addrs).chain(routes).chain(other_end).collect()
        }
        Key::Table(table) => {
            let sets = state.sets(table).map(|(key, _)| Key::Set(key.clone()));
            let chains = state.chains(table).map(|(key, _)| Key::Chain(key.clone()));
            sets.chain(chains).collect()
        }
        Key::Set(set) => state.elements(set).map(|(key, _)| Key::Element(key.clone())).collect(),
        Key::Sysctl(_) | Key::Addr(_) | Key::Route(_) | Key::Chain(_) | Key::Element(_) => Vec::new(),
    }
}

/// Those whose removal removes this object, so that it needs no operation of its own. A pair is removed by its first end.
pub(super) fn removers(key: &Key, object: &Object) -> Vec<Key> {
    let netns = || Key::Netns(key.netns().clone());
    match (key, object) {
        (Key::Netns(_), _) => Vec::new(),
        (Key::Link(_), Object::Link(link)) => match &link.kind {
            LinkKind::Bridge => vec![netns()],
            LinkKind::Veth { peer, .. } => vec![netns(), Key::Netns(peer.netns.clone())],
            LinkKind::VethPeer { of } => vec![netns(), Key::Link(of.clone())],
        },
        (Key::Addr(addr), _) => vec![netns(), Key::Link(addr.link.clone())],
        (Key::Route(_), Object::Route(route)) => {
            vec![netns(), Key::Link(LinkKey { netns: key.netns().clone(), name: route.device.clone() })]
        }
        (Key::Sysctl(sysctl), _) => sysctl.link().map(Key::Link).into_iter().chain([netns()]).collect(),
        (Key::Set(_) | Key::Chain(_), _) => [netns()].into_iter().chain(key.table().cloned().map(Key::Table)).collect(),
        (Key::Element(element), _) => {
            vec![netns(), Key::Table(element.set.table.clone()), Key::Set(element.set.clone())]
        }
        (Key::Link(_) | Key::Route(_) | Key::Table(_), _) => vec![netns()],
    }
}

/// Those that must be there before this object can be made.
pub(super) fn parents(state: &NetState, key: &Key, object: &Object) -> Vec<Key> {
    // A set brings its table and namespace; elements are many.
    if let Key::Element(element) = key {
        return vec![Key::Set(element.set.clone())];
    }
    let mut parents = removers(key, object);
    match object {
        Object::Link(link) => {
            let bridge =
                link.port.as_ref().map(|port| LinkKey { netns: key.netns().clone(), name: port.bridge.clone() });
            parents.extend(bridge.map(Key::Link));
        }
        Object::Route(route) => {
            let link = LinkKey { netns: key.netns().clone(), name: route.device.clone() };
            let reaches = |addr: &&AddrKey| route.via.is_some_and(|via| addr.address.contains(&via));
            parents.extend(state.addrs(&link).filter(reaches).cloned().map(Key::Addr));
        }
        Object::Chain(chain) => {
            let table = key.table();
            parents.extend(table.into_iter().flat_map(|table| chain.rules.iter().flat_map(|rule| named(table, rule))));
        }
        _ => {}
    }
    parents
}

/// The other end of a pair.
pub(super) fn other_end(object: &Object) -> Option<Key> {
    match object {
        Object::Link(link) => match &link.kind {
            LinkKind::Veth { peer, .. } => Some(Key::Link(peer.clone())),
            LinkKind::VethPeer { of } => Some(Key::Link(of.clone())),
            LinkKind::Bridge => None,
        },
        _ => None,
    }
}

/// The sets, maps and chains a rule names.
pub(super) fn named(table: &TableKey, rule: &Rule) -> Vec<Key> {
    let set = |name: &str| Key::from(SetKey { table: table.clone(), name: name.to_owned() });
    let chain = |name: &str| Key::Chain(ChainKey { table: table.clone(), name: name.to_owned() });
    rule.sets().map(set).chain(rule.jump().map(chain)).collect()
}
