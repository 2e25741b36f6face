//! The operations on one nftables table, which are one transaction: only what the kernel refuses inside a transaction dictates the order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Delete, Edits, kin, make, removal::Phase};
use crate::{
    apply::Op,
    nft::{Chain, Element, ElementData, MapVerdict, TableKey},
    state::{Key, NetState, Object},
};

/// Chains are emptied that name what must go and come again; then removals that free a name, then everything new, then the rest goes.
pub(super) fn ops(table: &TableKey, mut edits: Edits, desired: &NetState, observed: &NetState) -> Vec<Op> {
    single_out_verdicts(&mut edits, observed);
    hasten_verdicts(&mut edits, observed);
    let mut ops = empty_chains(table, &mut edits, desired, observed);
    for kind in [Kind::Element, Kind::Chain, Kind::Set] {
        ops.extend(deletes(&mut edits, Phase::Early, kind, table, observed));
    }
    ops.extend(makes(&mut edits, Kind::Table, table, desired));
    ops.extend(makes(&mut edits, Kind::Set, table, desired));
    ops.extend(deletes(&mut edits, Phase::Late, Kind::Element, table, observed));
    ops.extend(makes(&mut edits, Kind::Chain, table, desired));
    ops.extend(makes(&mut edits, Kind::Element, table, desired));
    for kind in [Kind::Chain, Kind::Set, Kind::Table] {
        ops.extend(deletes(&mut edits, Phase::Late, kind, table, observed));
    }
    ops
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Table,
    Set,
    Chain,
    Element,
}

fn kind(key: &Key) -> Kind {
    match key {
        Key::Set(_) => Kind::Set,
        Key::Chain(_) => Kind::Chain,
        Key::Element(_) => Kind::Element,
        _ => Kind::Table,
    }
}

/// A chain that an element leads to cannot be removed (EBUSY), nor a map that a chain's rule names. So where a map goes with its elements,
/// those that lead somewhere go first, by themselves.
fn single_out_verdicts(edits: &mut Edits, observed: &NetState) {
    let mut singled = Vec::new();
    for (_, delete) in edits.deleted.iter_mut().filter(|(key, _)| kind(key) == Kind::Set) {
        let phase = delete.phase;
        let leading = delete.with.extract_if(.., |key| led_to(observed, key).is_some());
        singled.extend(leading.map(|key| (key, phase)));
    }
    for (key, phase) in singled {
        if let Some(object) = observed.objects.get(&key).cloned() {
            edits.deleted.insert(key, Delete { phase, object, with: BTreeSet::new() });
        }
    }
}

/// A chain that goes early, to come again as another one, takes along the elements that lead to it.
fn hasten_verdicts(edits: &mut Edits, observed: &NetState) {
    let name = |key: &Key| match key {
        Key::Chain(chain) => Some(chain.name.clone()),
        _ => None,
    };
    let early = edits.deleted.iter().filter(|(_, delete)| delete.phase == Phase::Early);
    let freed: BTreeSet<String> = early.filter_map(|(key, _)| name(key)).collect();
    if freed.is_empty() {
        return;
    }
    for (key, delete) in &mut edits.deleted {
        if led_to(observed, key).is_some_and(|chain| freed.contains(chain)) {
            delete.phase = Phase::Early;
        }
    }
}

/// The chain to which an observed element leads.
fn led_to<'s>(observed: &'s NetState, key: &Key) -> Option<&'s str> {
    match observed.objects.get(key)? {
        Object::Element(Element { data: ElementData::Verdict(MapVerdict::Jump(chain)) }) => Some(chain),
        _ => None,
    }
}

/// A set or chain that a rule names cannot be removed (EBUSY). Rules in the way go first, and come back when their chain is made.
fn empty_chains(table: &TableKey, edits: &mut Edits, desired: &NetState, observed: &NetState) -> Vec<Op> {
    let leaving = || edits.deleted.iter().filter(|(key, _)| matches!(kind(key), Kind::Set | Kind::Chain));
    let freed: BTreeSet<Key> =
        leaving().filter(|(_, delete)| delete.phase == Phase::Early).map(|(key, _)| key.clone()).collect();
    let leaving: BTreeSet<Key> = leaving().map(|(key, _)| key.clone()).collect();
    if leaving.is_empty() {
        return Vec::new();
    }
    let mut ops = Vec::new();
    for (key, chain) in observed.chains(table) {
        let wished = desired.chain(key);
        let key = Key::Chain(key.clone());
        let in_the_way = match names(table, chain, wished) {
            Some(names) => !freed.contains(&key) && !names.is_disjoint(&freed),
            None => leaving.iter().any(|other| *other != key) && (leaving.contains(&key) || !freed.is_empty()),
        };
        if !in_the_way {
            continue;
        }
        let empty = Object::from(Chain { base: chain.base.clone(), rules: Vec::new() });
        match edits.deleted.get_mut(&key) {
            Some(delete) => delete.object = empty.clone(),
            None => drop(edits.made.insert(key.clone(), Some(empty.clone()))),
        }
        ops.push(Op::Change { key, from: chain.clone().into(), to: empty });
    }
    ops
}

/// What the rules of an observed chain name; none when a rule was read back and is not among the wished ones, so nobody knows.
fn names(table: &TableKey, chain: &Chain, wished: Option<&Chain>) -> Option<BTreeSet<Key>> {
    let mut names = BTreeSet::new();
    for rule in &chain.rules {
        let known = if rule.is_read_back() {
            wished.and_then(|chain| chain.rules.iter().find(|wished| wished.same(rule)))?
        } else {
            rule
        };
        names.extend(kin::named(table, known));
    }
    Some(names)
}

/// Called chains before their callers.
fn makes(edits: &mut Edits, wanted: Kind, table: &TableKey, desired: &NetState) -> Vec<Op> {
    let mut chosen: BTreeMap<Key, _> = edits.made.extract_if(.., |key, _| kind(key) == wanted).collect();
    if wanted != Kind::Chain {
        return chosen.into_iter().filter_map(|(key, from)| make(key, from, desired)).collect();
    }
    let order = called_first(chosen.keys().cloned().collect(), table, desired);
    let op = |key: Key| chosen.remove(&key).and_then(|from| make(key, from, desired));
    order.into_iter().filter_map(op).collect()
}

/// Callers before the chains they call.
fn deletes(edits: &mut Edits, phase: Phase, wanted: Kind, table: &TableKey, observed: &NetState) -> Vec<Op> {
    let mut chosen: BTreeMap<Key, Delete> =
        edits.deleted.extract_if(.., |key, delete| kind(key) == wanted && delete.phase == phase).collect();
    if wanted != Kind::Chain {
        return chosen.into_iter().rev().map(|(key, delete)| delete.op(key)).collect();
    }
    let order = called_first(chosen.keys().cloned().collect(), table, observed);
    let op = |key: Key| chosen.remove(&key).map(|delete| delete.op(key));
    order.into_iter().rev().filter_map(op).collect()
}

/// The keys, each after all chains that it calls, directly or through others.
fn called_first(keys: Vec<Key>, table: &TableKey, state: &NetState) -> Vec<Key> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<(Key, bool)> = keys.into_iter().rev().map(|key| (key, false)).collect();
    while let Some((key, called_are_done)) = open.pop() {
        if called_are_done {
            order.push(key);
        } else if seen.insert(key.clone()) {
            open.push((key.clone(), true));
            if let Some(Object::Chain(chain)) = state.objects.get(&key) {
                let called =
                    chain.rules.iter().flat_map(|rule| kin::named(table, rule)).filter(|key| kind(key) == Kind::Chain);
                open.extend(called.map(|key| (key, false)));
            }
        }
    }
    order
}
