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

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

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
    diff_keys(desired, observed, differing(desired, observed))
}

/// The same for some keys only: the cost is that of the change, not of the state. Keys that must change with these (children of what is
/// made anew, missing parents of what is made, the other end of a pair) are added by themselves.
pub fn diff_keys(desired: &NetState, observed: &NetState, keys: impl IntoIterator<Item = Key>) -> Plan {
    let verdicts = verdicts(desired, observed, keys);
    let removal = Removal::of(desired, observed, &verdicts);
    let made = verdicts.into_iter().filter_map(|(key, verdict)| match verdict {
        Verdict::Create => Some((key, None)),
        Verdict::Change(from) => Some((key, Some(*from))),
        Verdict::Recreate | Verdict::Delete => None,
    });
    let mut edits = Edits { made: made.collect(), ..Edits::default() };
    let again = removal.gone.keys().filter(|key| desired.has(key)).map(|key| (key.clone(), None));
    edits.made.extend(again);
    detach_ports(&removal, desired, observed, &mut edits);
    edits.deleted = removal.deletes(observed).into_iter().collect();
    let mut ops = Vec::new();
    let tables = edits.split_tables();
    ops.extend(edits.deletes(Phase::Early));
    ops.extend(edits.makes(desired));
    for (table, edits) in tables {
        ops.extend(table::ops(&table, edits, desired, observed));
    }
    ops.extend(edits.deletes(Phase::Late));
    Plan { ops }
}

/// The keys of which the two states say different things, found in one walk through both.
fn differing(desired: &NetState, observed: &NetState) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut wished = desired.objects.iter().peekable();
    let mut seen = observed.objects.iter().peekable();
    loop {
        let order = match (wished.peek(), seen.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return keys,
        };
        let a = if order.is_le() { wished.next() } else { None };
        let b = if order.is_ge() { seen.next() } else { None };
        if a != b {
            keys.extend(a.or(b).map(|(key, _)| key.clone()));
        }
    }
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
    /// Takes out what belongs to tables, each table's by itself.
    fn split_tables(&mut self) -> BTreeMap<TableKey, Self> {
        let mut tables: BTreeMap<TableKey, Self> = BTreeMap::new();
        for (table, made) in by_table(self.made.extract_if(.., |key, _| key.table().is_some())) {
            tables.entry(table).or_default().made = made.into_iter().collect();
        }
        for (table, deleted) in by_table(self.deleted.extract_if(.., |key, _| key.table().is_some())) {
            tables.entry(table).or_default().deleted = deleted.into_iter().collect();
        }
        tables
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

/// What belongs to tables, each table's by itself, in the order it came.
fn by_table<T>(all: impl Iterator<Item = (Key, T)>) -> BTreeMap<TableKey, Vec<(Key, T)>> {
    let mut tables: BTreeMap<TableKey, Vec<(Key, T)>> = BTreeMap::new();
    for (key, it) in all {
        let Some(table) = key.table() else { continue };
        match tables.get_mut(table) {
            Some(of_table) => of_table.push((key, it)),
            None => drop(tables.insert(table.clone(), vec![(key, it)])),
        }
    }
    tables
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

/// What must happen to the keys, and to those that cannot be judged apart from them.
fn verdicts(desired: &NetState, observed: &NetState, keys: impl IntoIterator<Item = Key>) -> BTreeMap<Key, Verdict> {
    let mut keys: Vec<Key> = keys.into_iter().collect();
    // Most often they come in order.
    keys.sort();
    keys.dedup();
    let mut related = Vec::new();
    let found: Vec<_> = keys.iter().map(|key| verdict(desired, observed, key, &mut related)).collect();
    let mut others = BTreeMap::new();
    while let Some(key) = related.pop() {
        if keys.binary_search(&key).is_err() && !others.contains_key(&key) {
            let verdict = verdict(desired, observed, &key, &mut related);
            others.insert(key, verdict);
        }
    }
    let all = keys.into_iter().zip(found).chain(others);
    all.filter_map(|(key, verdict)| Some((key, verdict?))).collect()
}

fn verdict(desired: &NetState, observed: &NetState, key: &Key, related: &mut Vec<Key>) -> Option<Verdict> {
    let wished = desired.objects.get(key);
    let seen = observed.objects.get(key);
    related.extend([wished, seen].into_iter().flatten().filter_map(kin::other_end));
    match (wished, seen) {
        (Some(object), None) => {
            for parent in kin::parents(desired, key, object) {
                // Elements of one set follow each other.
                if related.last() != Some(&parent) && desired.has(&parent) && !observed.has(&parent) {
                    related.push(parent);
                }
            }
            (*key != Key::Netns(NetnsName::Host)).then_some(Verdict::Create)
        }
        (None, Some(object)) => is_removable(key, object, desired).then_some(Verdict::Delete),
        (Some(to), Some(from)) => judge(from, to),
        (None, None) => None,
    }
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
            match judge(&alone.into(), to) {
                Some(Verdict::Change(from)) => edits.made.insert(port, Some(*from)),
                _ => edits.made.remove(&port),
            };
        }
    }
}
