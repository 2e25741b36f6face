//! nftables: tables, sets, chains, elements. Whether operations are one transaction is `host`'s matter.

use std::collections::BTreeSet;

use netstate::{
    Key, Object,
    nft::{
        Action, Chain, ChainKey, ChainType, Datatype, Element, ElementData, ElementKey, Family, Field, Filled, Hook,
        MapKey, MapVerdict, Marking, Match, NatFamily, NatTarget, Op, Rule, Set, SetData, SetKey, Spans, Table,
        TableKey,
    },
};

use crate::host::{Outcome, World, refuse};

/// Longest key of a set in bytes (`NFT_DATA_VALUE_MAXLEN`).
const KEY_MAX_BYTES: usize = 64;

pub(crate) fn create_table(world: &mut World, key: &TableKey) -> Outcome {
    if !world.has_netns(&key.netns) {
        return refuse(libc::ENOENT, format!("there is no namespace {}", key.netns));
    }
    if world.state.has(&Key::Table(key.clone())) {
        return refuse(libc::EEXIST, "there is such a table");
    }
    world.insert(key.clone(), Table {});
    Ok(())
}

pub(crate) fn delete_table(world: &mut World, table: &TableKey) -> Outcome {
    world.remove_if(|key, _| key.table() == Some(table));
    Ok(())
}

pub(crate) fn create_set(world: &mut World, key: &SetKey, set: &Set) -> Outcome {
    check_table(world, &key.table)?;
    if world.state.set(key).is_some() {
        return refuse(libc::EEXIST, "there is such a set");
    }
    let bytes: usize = set.key.iter().map(|field| bytes(*field)).sum();
    if !(1..=KEY_MAX_BYTES).contains(&bytes) {
        return refuse(libc::EINVAL, format!("a key of {bytes} bytes"));
    }
    world.insert(key.clone(), set.clone());
    Ok(())
}

pub(crate) fn delete_set(world: &mut World, key: &SetKey) -> Outcome {
    let names = |rule: &Rule| rule.sets().any(|set| set == key.name);
    if let Some(chain) = user(world, &key.table, names) {
        return refuse(libc::EBUSY, format!("a rule of chain {chain} names it"));
    }
    world.remove_if(|other, _| matches!(other, Key::Element(element) if *element.set == *key));
    world.remove(&key.clone().into());
    Ok(())
}

pub(crate) fn create_chain(world: &mut World, key: &ChainKey, chain: &Chain) -> Outcome {
    check_table(world, &key.table)?;
    if world.state.chain(key).is_some() {
        return refuse(libc::EEXIST, "there is such a chain");
    }
    if let Some(base) = &chain.base
        && base.kind == ChainType::Nat
        && (key.table.family == Family::Bridge || base.hook == Hook::Forward)
    {
        return refuse(libc::EOPNOTSUPP, "there is no nat at this hook of this family");
    }
    check_rules(world, key, chain)?;
    world.insert(key.clone(), chain.clone());
    Ok(())
}

pub(crate) fn change_chain(world: &mut World, key: &ChainKey, chain: &Chain) -> Outcome {
    let Some(seen) = world.state.chain(key) else {
        return refuse(libc::ENOENT, "there is no such chain");
    };
    let hook = |chain: &Chain| chain.base.as_ref().map(|base| (base.kind, base.hook, base.priority));
    if hook(seen) != hook(chain) {
        return refuse(libc::EEXIST, "a chain's hook cannot be changed");
    }
    check_rules(world, key, chain)?;
    world.insert(key.clone(), chain.clone());
    Ok(())
}

pub(crate) fn delete_chain(world: &mut World, key: &ChainKey) -> Outcome {
    let calls = |rule: &Rule| rule.jump() == Some(key.name.as_str());
    if let Some(chain) = user(world, &key.table, calls).filter(|chain| *chain != key.name) {
        return refuse(libc::EBUSY, format!("a rule of chain {chain} jumps to it"));
    }
    let leads = |(other, element): &(&Key, &Object)| {
        let to = matches!(element, Object::Element(element) if leads_to(element) == Some(key.name.as_str()));
        to && other.table() == Some(&key.table)
    };
    if let Some((element, _)) = world.state.objects.iter().find(leads) {
        return refuse(libc::EBUSY, format!("{element} leads to it"));
    }
    world.remove(&Key::Chain(key.clone()));
    Ok(())
}

/// The chain that an element leads to.
fn leads_to(element: &Element) -> Option<&str> {
    match &element.data {
        ElementData::Verdict(MapVerdict::Jump(chain)) => Some(chain),
        _ => None,
    }
}

pub(crate) fn create_element(world: &mut World, key: &ElementKey, element: &Element) -> Outcome {
    let Some(set) = world.state.set(&key.set) else {
        return refuse(libc::ENOENT, format!("there is no set {}", key.set));
    };
    let types = |spans: &Spans| spans.iter().map(|span| span.first.datatype()).collect::<Vec<_>>();
    let ends_alike =
        key.key.iter().all(|span| span.first.datatype() == span.last.datatype() && span.first <= span.last);
    let data = match (&set.data, &element.data) {
        (SetData::None, ElementData::None) => true,
        (SetData::Values(types), ElementData::Values(values)) => {
            *types == values.iter().map(|v| v.datatype()).collect::<Vec<_>>()
        }
        (SetData::Verdict, ElementData::Verdict(_)) => true,
        _ => false,
    };
    if types(&key.key) != set.key || !ends_alike || !data {
        return refuse(libc::EINVAL, "the element is not of the set's types");
    }
    if let Some(chain) = leads_to(element)
        && !world.state.has(&Key::Chain(ChainKey { table: key.set.table.clone(), name: chain.to_owned() }))
    {
        return refuse(libc::ENOENT, format!("there is no chain {chain}"));
    }
    if !set.interval && key.key.iter().any(|span| span.first != span.last) {
        return refuse(libc::EINVAL, "the set has no ranges");
    }
    let overlaps =
        |other: &ElementKey| other.key.iter().zip(key.key.iter()).all(|(a, b)| a.first <= b.last && b.first <= a.last);
    let taken = world.state.element(key).is_some()
        || set.interval && world.state.elements(&key.set).any(|(other, _)| overlaps(other));
    if taken {
        return refuse(libc::EEXIST, "the set has an element that overlaps");
    }
    world.insert(key.clone(), element.clone());
    Ok(())
}

fn check_table(world: &World, key: &TableKey) -> Outcome {
    if world.state.has(&Key::Table(key.clone())) {
        Ok(())
    } else {
        refuse(libc::ENOENT, format!("there is no table {key}"))
    }
}

/// The name of a chain with such a rule.
fn user(world: &World, table: &TableKey, wanted: impl Fn(&Rule) -> bool) -> Option<String> {
    let mut users = world.state.chains(table).filter(|(_, chain)| chain.rules.iter().any(&wanted));
    users.next().map(|(key, _)| key.name.clone())
}

fn check_rules(world: &World, key: &ChainKey, chain: &Chain) -> Outcome {
    for rule in &chain.rules {
        if rule.is_read_back() {
            return refuse(libc::EINVAL, "a rule of which only the comment is known");
        }
        for condition in &rule.matches {
            let mark = SetData::Values(vec![Datatype::Mark]);
            match condition {
                Match::In { fields, set, .. } => check_lookup(world, key, set, fields, &SetData::None)?,
                Match::SetMark(Marking::Found { fields, map }) => check_lookup(world, key, map, fields, &mark)?,
                Match::Remember { key: by, map, .. } | Match::Forget { key: by, map } => {
                    let looked_up = match by {
                        MapKey::Fields(fields) => fields.as_slice(),
                        MapKey::Hash(_) => &[Field::Mark],
                    };
                    check_lookup(world, key, map, looked_up, &mark)?;
                    check_filled(world, key, map)?;
                }
                _ => {}
            }
        }
        match &rule.action {
            Action::Jump(name) => check_jump(world, key, name)?,
            Action::VerdictOfMark { map } => check_lookup(world, key, map, &[Field::Mark], &SetData::Verdict)?,
            Action::Dnat(target) => {
                check_hook(chain, &[Hook::Prerouting, Hook::Output])?;
                check_nat(world, key, rule, target)?;
            }
            Action::Snat(target) => {
                check_hook(chain, &[Hook::Postrouting, Hook::Input])?;
                check_nat(world, key, rule, target)?;
            }
            Action::Masquerade => check_hook(chain, &[Hook::Postrouting])?,
            Action::Redirect { .. } => {
                check_hook(chain, &[Hook::Prerouting, Hook::Output])?;
                check_transport(rule)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Only chains of the right hook translate.
fn check_hook(chain: &Chain, hooks: &[Hook]) -> Outcome {
    match &chain.base {
        Some(base) if base.kind != ChainType::Nat || !hooks.contains(&base.hook) => {
            refuse(libc::EOPNOTSUPP, "this translation is not possible at this hook")
        }
        _ => Ok(()),
    }
}

/// The kernel would take a translation of ports of any protocol, but nft cannot read it back, and then nobody can list the host's rules.
fn check_transport(rule: &Rule) -> Outcome {
    let names_transport = |m: &Match| matches!(m, Match::Is { field: Field::L4Proto, op: Op::Eq, .. });
    if rule.matches.iter().any(names_transport) {
        return Ok(());
    }
    refuse(libc::EINVAL, format!("rule \"{}\" translates a port without a match on the transport protocol", rule.name))
}

fn check_nat(world: &World, key: &ChainKey, rule: &Rule, target: &NatTarget) -> Outcome {
    let (fields, map, with_port, family) = match target {
        NatTarget::To { port: None, .. } => return Ok(()),
        NatTarget::To { port: Some(_), .. } => return check_transport(rule),
        NatTarget::Map { fields, map, with_port, family } => (fields, map, with_port, family),
    };
    let set = SetKey { table: key.table.clone(), name: map.clone() };
    if *with_port && world.state.set(&set).is_some_and(|set| set.interval) {
        check_transport(rule)?;
    }
    let address = match family {
        NatFamily::Ip => Datatype::Ipv4Addr,
        NatFamily::Ip6 => Datatype::Ipv6Addr,
    };
    let data = if *with_port { vec![address, Datatype::InetService] } else { vec![address] };
    check_lookup(world, key, map, fields, &SetData::Values(data))
}

fn check_lookup(world: &World, key: &ChainKey, name: &str, fields: &[Field], data: &SetData) -> Outcome {
    let set = SetKey { table: key.table.clone(), name: name.to_owned() };
    let Some(seen) = world.state.set(&set) else {
        return refuse(libc::ENOENT, format!("there is no set {set}"));
    };
    let types: Vec<_> = fields.iter().map(|field| field.datatype()).collect();
    if seen.key != types || seen.data != *data {
        return refuse(libc::EINVAL, format!("{set} is of other types than the rule looks up"));
    }
    Ok(())
}

/// Only a set that was made for it is filled by packets.
fn check_filled(world: &World, key: &ChainKey, name: &str) -> Outcome {
    let set = SetKey { table: key.table.clone(), name: name.to_owned() };
    match world.state.set(&set) {
        Some(set) if set.filled == Filled::ByPackets => Ok(()),
        _ => refuse(libc::EOPNOTSUPP, format!("{set} is not dynamic")),
    }
}

/// The kernel follows jumps when it takes a transaction; here the chain must be there and must not lead back.
fn check_jump(world: &World, from: &ChainKey, name: &str) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        if name == from.name {
            return refuse(libc::ELOOP, "the jump leads back");
        }
        let key = ChainKey { table: from.table.clone(), name: name.clone() };
        let Some(Object::Chain(chain)) = world.state.objects.get(&Key::Chain(key.clone())) else {
            return refuse(libc::ENOENT, format!("there is no chain {key}"));
        };
        if chain.base.is_some() {
            return refuse(libc::EOPNOTSUPP, format!("{key} is a base chain"));
        }
        if seen.insert(name) {
            open.extend(chain.rules.iter().filter_map(|rule| rule.jump().map(str::to_owned)));
        }
    }
    Ok(())
}

/// What a field of a key takes, padded to registers of four bytes.
fn bytes(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Ipv6Addr | Datatype::IfName => 16,
        _ => 4,
    }
}
