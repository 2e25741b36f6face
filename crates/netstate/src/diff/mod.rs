//! The difference between two states, as operations in the order they must happen. All ordering is here; appliers have none.
//!
//! 1. Removals that free something: what is made anew, an address that moves, what hangs on either.
//! 2. Namespaces, links, settings, addresses, routes: made or changed, parents first. Old ones still stand (make before break).
//! 3. nftables, one table after the other, so that each is one transaction.
//! 4. The other removals, children first. What goes by itself with its parent is not removed but listed in [`Op::Delete`]`.with`.
//!
//! Settings are never removed: they go with their link or namespace, or stay.

mod judge;
mod kin;
mod removal;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    apply::{Op, Plan},
    link::LinkKind,
    netns::NetnsName,
    nft::TableKey,
    state::{Key, NetState, Object},
};
use judge::{Verdict, judge};
use removal::{Phase, Removal};

/// What turns `observed` into `desired`.
pub fn diff(desired: &NetState, observed: &NetState) -> Plan {
    diff_keys(desired, observed, desired.objects.keys().chain(observed.objects.keys()).cloned())
}

/// The same for some keys only: the cost is that of the change, not of the state. Keys that must change with these (children of what is
/// made anew, missing parents of what is made, the other end of a pair) are added by themselves.
pub fn diff_keys(desired: &NetState, observed: &NetState, keys: impl IntoIterator<Item = Key>) -> Plan {
    let verdicts = verdicts(desired, observed, scope(desired, observed, keys));
    let removal = Removal::of(desired, observed, &verdicts);
    let mut edits = Edits::default();
    for (key, verdict) in verdicts {
        match verdict {
            Verdict::Create => edits.make(&key, None, desired),
            Verdict::Change(from) => edits.make(&key, Some(*from), desired),
            Verdict::Recreate | Verdict::Delete => {}
        }
    }
    for key in removal.gone.keys() {
        edits.make(key, None, desired);
    }
    detach_ports(&removal, desired, observed, &mut edits);
    let mut tables: BTreeMap<TableKey, Edits> = BTreeMap::new();
    let made = std::mem::take(&mut edits.made);
    for (key, from) in made {
        match key.table() {
            Some(table) => tables.entry(table.clone()).or_default().made.insert(key, from),
            None => edits.made.insert(key, from),
        };
    }
    for (key, delete) in removal.deletes(observed) {
        match key.table() {
            Some(table) => tables.entry(table.clone()).or_default().deleted.insert(key, delete),
            None => edits.deleted.insert(key, delete),
        };
    }
    let mut ops = edits.deletes(Phase::Early);
    ops.extend(edits.makes(desired));
    for (table, edits) in tables {
        ops.extend(table::ops(&table, edits, desired, observed));
    }
    ops.extend(edits.deletes(Phase::Late));
    Plan { ops }
}

/// What will be done to some objects, before it is put in order.
#[derive(Default)]
struct Edits {
    /// Made (none) or changed (from what), to what `desired` says.
    made: BTreeMap<Key, Option<Object>>,
    /// Removed.
    deleted: BTreeMap<Key, Delete>,
}

/// A removal that gets an operation of its own.
struct Delete {
    phase: Phase,
    object: Object,
    with: BTreeSet<Key>,
}

impl Edits {
    fn make(&mut self, key: &Key, from: Option<Object>, desired: &NetState) {
        if desired.has(key) {
            self.made.insert(key.clone(), from);
        }
    }

    /// Creations and changes, parents first.
    fn makes(&mut self, desired: &NetState) -> Vec<Op> {
        let mut ops: Vec<Op> =
            std::mem::take(&mut self.made).into_iter().filter_map(|(key, from)| make(key, from, desired)).collect();
        ops.sort_by_cached_key(|op| match op {
            Op::Create { key, object, .. } | Op::Change { key, to: object, .. } | Op::Delete { key, object, .. } => {
                rank(key, object)
            }
        });
        ops
    }

    /// The removals of a phase, children first.
    fn deletes(&mut self, phase: Phase) -> Vec<Op> {
        let chosen: BTreeMap<_, _> = self.deleted.extract_if(.., |_, delete| delete.phase == phase).collect();
        let mut deletes: Vec<_> = chosen.into_iter().collect();
        deletes.sort_by_cached_key(|(key, delete)| std::cmp::Reverse((rank(key, &delete.object), key.clone())));
        deletes.into_iter().map(|(key, delete)| delete.op(key)).collect()
    }
}

impl Delete {
    fn op(self, key: Key) -> Op {
        Op::Delete { key, object: self.object, with: self.with }
    }
}

fn make(key: Key, from: Option<Object>, desired: &NetState) -> Option<Op> {
    let object = desired.objects.get(&key)?.clone();
    Some(match from {
        None => Op::Create { key, object },
        Some(from) => Op::Change { key, from, to: object },
    })
}

/// Order of creation outside nftables: a bridge before its ports, the first end of a pair before the second, what is on the link before
/// what is behind a next hop.
fn rank(key: &Key, object: &Object) -> (u8, u8) {
    match (key, object) {
        (Key::Netns(_), _) => (0, 0),
        (Key::Link(_), Object::Link(link)) => match link.kind {
            LinkKind::Bridge => (1, 0),
            LinkKind::Veth { .. } => (1, 1),
            LinkKind::VethPeer { .. } => (1, 2),
        },
        (Key::Link(_), _) => (1, 3),
        (Key::Sysctl(_), _) => (2, 0),
        (Key::Addr(_), _) => (3, 0),
        (Key::Route(_), Object::Route(route)) => (4, u8::from(route.via.is_some())),
        (Key::Route(_), _) => (4, 2),
        (Key::Table(_) | Key::Set(_) | Key::Chain(_) | Key::Element(_), _) => (5, 0),
    }
}

/// The keys, and those that cannot be judged apart from them.
fn scope(desired: &NetState, observed: &NetState, keys: impl IntoIterator<Item = Key>) -> BTreeSet<Key> {
    let mut scope = BTreeSet::new();
    let mut open: Vec<Key> = keys.into_iter().collect();
    while let Some(key) = open.pop() {
        if scope.contains(&key) {
            continue;
        }
        let wished = desired.objects.get(&key);
        let seen = observed.objects.get(&key);
        open.extend([wished, seen].into_iter().flatten().filter_map(kin::other_end));
        if let (Some(object), None) = (wished, seen) {
            let parents = kin::parents(desired, &key, object).into_iter();
            open.extend(parents.filter(|parent| desired.has(parent) && !observed.has(parent)));
        }
        scope.insert(key);
    }
    scope
}

fn verdicts(desired: &NetState, observed: &NetState, scope: BTreeSet<Key>) -> BTreeMap<Key, Verdict> {
    let verdict = |key: &Key| match (desired.objects.get(key), observed.objects.get(key)) {
        (Some(_), None) if *key == Key::Netns(NetnsName::Host) => None,
        (Some(_), None) => Some(Verdict::Create),
        (None, Some(object)) if is_removable(key, object, desired) => Some(Verdict::Delete),
        (Some(to), Some(from)) => judge(from, to),
        _ => None,
    };
    scope.into_iter().filter_map(|key| verdict(&key).map(|verdict| (key, verdict))).collect()
}

/// Some things are not for us to remove: the host's namespace, a setting, the second end of a pair that is to stay.
fn is_removable(key: &Key, object: &Object, desired: &NetState) -> bool {
    match (key, object) {
        (Key::Netns(NetnsName::Host) | Key::Sysctl(_), _) => false,
        (Key::Link(key), Object::Link(link)) => match &link.kind {
            LinkKind::VethPeer { of } => {
                !matches!(desired.link(of).map(|first| &first.kind), Some(LinkKind::Veth { peer, .. }) if peer == key)
            }
            _ => true,
        },
        _ => true,
    }
}

/// Ports of a bridge that is made anew are left without one, and are judged as such.
fn detach_ports(removal: &Removal, desired: &NetState, observed: &NetState, edits: &mut Edits) {
    for key in removal.early() {
        let (Key::Link(bridge), Some(Object::Link(link))) = (key, observed.objects.get(key)) else {
            continue;
        };
        if link.kind != LinkKind::Bridge {
            continue;
        }
        for (port, link) in observed.ports(bridge) {
            let port = Key::Link(port.clone());
            let Some(to) = desired.objects.get(&port).filter(|_| !removal.gone.contains_key(&port)) else {
                continue;
            };
            let mut alone = link.clone();
            alone.port = None;
            match judge(&Object::Link(alone), to) {
                Some(Verdict::Change(from)) => edits.made.insert(port, Some(*from)),
                _ => edits.made.remove(&port),
            };
        }
    }
}
