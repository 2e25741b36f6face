//! nftables: neighbouring operations on one table as one transaction, which happens whole or not at all.
//!
//! Nobody sees the inside of a transaction, so what counts is what becomes of each object, not the order of the operations. The
//! messages always go out in one order: what goes is unlinked and removed, what comes is made, then come rules and elements.

use std::collections::BTreeMap;

use libc::NLM_F_ACK;
use netstate::{
    Key, Object, Op,
    nft::{Chain, ChainKey, Element, ElementKey, Set, SetData, SetKey},
};

use super::{Failure, mismatch};
use crate::{
    fault::Refusal,
    linux::Linux,
    netlink::{Request, Socket},
    nft::{self, element},
};

const BATCH_BEGIN: u16 = 0x10; // NFNL_MSG_BATCH_BEGIN
const BATCH_END: u16 = 0x11; // NFNL_MSG_BATCH_END

/// Carries out operations on one table.
pub(crate) fn apply(linux: &mut Linux, ops: &[Op]) -> Result<(), Failure> {
    let netns = ops[0].key().netns().clone();
    let mut transaction = Transaction::default();
    for (key, fate) in fates(ops)? {
        let refused = |refusal| Failure { at: fate.at, in_effect: 0, refusal };
        transaction.add(linux, key, &fate).map_err(refused)?;
    }
    let parts = transaction.parts();
    let sent = match linux.sockets(&netns) {
        Ok(sockets) => commit(&mut sockets.netfilter, parts),
        // The namespace is gone with all that was to be removed.
        Err(refusal) if refusal.errno == libc::ENOENT && parts.iter().all(|p| p.kind == Kind::Removal) => Ok(()),
        Err(refusal) => Err(Failure { at: 0, in_effect: 0, refusal }),
    };
    sent?;
    ops.iter().for_each(|op| remember(linux, op));
    Ok(())
}

/// Some messages of a transaction, and the operations they are for.
struct Part {
    kind: Kind,
    /// By place.
    ops: Vec<usize>,
    /// Each alone, where the part's one message carries several.
    alone: Vec<Request>,
    request: Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What it removes may be gone already.
    Removal,
    /// Anything else.
    Addition,
}

impl Part {
    fn new(kind: Kind, op: usize, request: Request) -> Self {
        Self { kind, ops: vec![op], alone: Vec::new(), request }
    }
}

/// Messages by what they do, in the order in which they go out.
#[derive(Default)]
struct Transaction {
    tables: Vec<Part>,
    flushes: Vec<Part>,
    element_removals: Vec<ElementChange>,
    chain_removals: Vec<Part>,
    set_removals: Vec<Part>,
    table_removals: Vec<Part>,
    sets: Vec<Part>,
    chains: Vec<Part>,
    rules: Vec<Part>,
    elements: Vec<ElementChange>,
}

/// An element that comes or goes, encoded.
struct ElementChange {
    op: usize,
    set: SetKey,
    bytes: Vec<u8>,
}

/// What becomes of an object by all operations on it.
#[derive(Default)]
struct Fate<'a> {
    /// The last operation, by place.
    at: usize,
    /// A chain that is there loses its rules.
    flushed: bool,
    /// What is there goes.
    removed: bool,
    /// What is made, after that.
    made: Option<&'a Object>,
}

fn fates(ops: &[Op]) -> Result<BTreeMap<&Key, Fate<'_>>, Failure> {
    let mut fates: BTreeMap<&Key, Fate<'_>> = BTreeMap::new();
    for (at, op) in ops.iter().enumerate() {
        let fate = fates.entry(op.key()).or_default();
        fate.at = at;
        match op {
            Op::Create { object, .. } => fate.made = Some(object),
            Op::Change { from, to, .. } => {
                fate.flushed = true;
                fate.removed |= !is_changed_in_place(from, to);
                fate.made = Some(to);
            }
            Op::Delete { .. } => {
                fate.flushed = true;
                fate.removed = true;
                fate.made = None;
            }
        }
    }
    let fits = |key: &Key, object: &Object| {
        matches!(
            (key, object),
            (Key::Table(_), Object::Table(_))
                | (Key::Set(_), Object::Set(_))
                | (Key::Chain(_), Object::Chain(_))
                | (Key::Element(_), Object::Element(_))
        )
    };
    match fates.iter().find(|(key, fate)| fate.made.is_some_and(|object| !fits(key, object))) {
        Some((_, fate)) => Err(Failure { at: fate.at, in_effect: 0, refusal: mismatch() }),
        None => Ok(fates),
    }
}

/// A set's types and an element's data cannot be changed, and a chain is tied to its hook.
fn is_changed_in_place(from: &Object, to: &Object) -> bool {
    match (from, to) {
        (Object::Chain(Chain { base: Some(a), .. }), Object::Chain(Chain { base: Some(b), .. })) => {
            (a.kind, a.hook, a.priority) == (b.kind, b.hook, b.priority)
        }
        (Object::Chain(a), Object::Chain(b)) => a.base == b.base,
        (Object::Table(_), _) => true,
        _ => false,
    }
}

impl Transaction {
    fn add(&mut self, linux: &mut Linux, key: &Key, fate: &Fate<'_>) -> Result<(), Refusal> {
        let at = fate.at;
        let removal = |request| Part::new(Kind::Removal, at, request);
        match key {
            Key::Table(key) if fate.removed => self.table_removals.push(removal(nft::table::delete(key))),
            Key::Set(key) if fate.removed => self.set_removals.push(removal(nft::set::delete(key))),
            Key::Chain(key) => {
                if fate.flushed {
                    self.flushes.push(removal(nft::rule::flush(key)));
                }
                if fate.removed {
                    self.chain_removals.push(removal(nft::chain::delete(key)));
                }
            }
            Key::Element(key) if fate.removed => self.remove_element(linux, at, key)?,
            _ => {}
        }
        match (key, fate.made) {
            (Key::Table(key), Some(_)) => self.tables.push(Part::new(Kind::Addition, at, nft::table::create(key))),
            (Key::Set(key), Some(Object::Set(set))) => self.add_set(linux, at, key, set)?,
            (Key::Chain(key), Some(Object::Chain(chain))) => self.add_chain(linux, at, key, chain)?,
            (Key::Element(key), Some(Object::Element(element))) => self.add_element(linux, at, key, element)?,
            _ => {}
        }
        Ok(())
    }

    fn add_set(&mut self, linux: &mut Linux, at: usize, key: &SetKey, set: &Set) -> Result<(), Refusal> {
        self.sets.push(Part::new(Kind::Addition, at, nft::set::create(key, set)?));
        // The elements that follow are encoded by it.
        linux.sets.insert(key.clone(), set.clone());
        Ok(())
    }

    /// A chain that is there already, with rules, must not get them twice.
    fn add_chain(&mut self, linux: &mut Linux, at: usize, key: &ChainKey, chain: &Chain) -> Result<(), Refusal> {
        self.chains.push(Part::new(Kind::Addition, at, nft::chain::create(key, chain)));
        self.chains.push(Part::new(Kind::Removal, at, nft::rule::flush(key)));
        for rule in &chain.rules {
            let map = |name: &str| SetKey { table: key.table.clone(), name: name.to_owned() };
            nft::rule::check(rule, |name| Ok(set_of(linux, &map(name))?.is_some_and(|set| set.interval)))?;
            self.rules.extend(nft::rule::create(key, rule)?.into_iter().map(|r| Part::new(Kind::Addition, at, r)));
        }
        Ok(())
    }

    fn add_element(
        &mut self,
        linux: &mut Linux,
        op: usize,
        key: &ElementKey,
        element: &Element,
    ) -> Result<(), Refusal> {
        let Some(set) = set_of(linux, &key.set)? else {
            return Err(Refusal::new(libc::ENOENT).because(format!("there is no set {}", key.set)));
        };
        check_element(&set, key, element)?;
        let bytes = element::encode(&set, key, element, element::Change::Add)?;
        self.elements.push(ElementChange { op, set: key.set.clone(), bytes });
        Ok(())
    }

    fn remove_element(&mut self, linux: &mut Linux, op: usize, key: &ElementKey) -> Result<(), Refusal> {
        // Without its set the element is gone.
        if let Some(set) = set_of(linux, &key.set)? {
            let bytes = element::encode(&set, key, &Element::default(), element::Change::Remove)?;
            self.element_removals.push(ElementChange { op, set: key.set.clone(), bytes });
        }
        Ok(())
    }

    fn parts(self) -> Vec<Part> {
        let element_removals = lists(self.element_removals, Kind::Removal);
        let elements = lists(self.elements, Kind::Addition);
        [
            self.tables,
            self.flushes,
            element_removals,
            self.chain_removals,
            self.set_removals,
            self.table_removals,
            self.sets,
            self.chains,
            self.rules,
            elements,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Sends a transaction. What it removes and is gone already is left out and the rest sent again; a message for several elements is
/// taken apart to know which one was meant.
fn commit(socket: &mut Socket, mut parts: Vec<Part>) -> Result<(), Failure> {
    loop {
        if parts.is_empty() {
            return Ok(());
        }
        let refusals = send(socket, &parts).map_err(|refusal| Failure { at: 0, in_effect: 0, refusal })?;
        if refusals.is_empty() {
            return Ok(());
        }
        let mut refused: Vec<Option<Refusal>> = vec![None; parts.len()];
        for (index, refusal) in refusals {
            match refused.get_mut(index) {
                Some(slot) => *slot = Some(refusal),
                None => return Err(Failure { at: parts[0].ops[0], in_effect: 0, refusal }),
            }
        }
        let mut next = Vec::with_capacity(parts.len());
        for (part, refusal) in parts.into_iter().zip(refused) {
            match refusal {
                None => next.push(part),
                Some(_) if part.ops.len() > 1 => next.extend(apart(part)),
                Some(refusal) if part.kind == Kind::Removal && refusal.errno == libc::ENOENT => {}
                Some(refusal) => return Err(Failure { at: part.ops[0], in_effect: 0, refusal: explain(refusal) }),
            }
        }
        parts = next;
    }
}

fn send(socket: &mut Socket, parts: &[Part]) -> Result<Vec<(usize, Refusal)>, Refusal> {
    let mark = |kind| Request::new(kind, 0, nft::header(0, libc::NFNL_SUBSYS_NFTABLES as u16).0);
    let mut requests = vec![mark(BATCH_BEGIN)];
    requests.extend(parts.iter().map(|p| p.request.clone()));
    if let Some(last) = requests.last_mut() {
        last.flags |= NLM_F_ACK as u16;
    }
    requests.push(mark(BATCH_END));
    let refusals = socket.exchange(&requests, |_| ())?;
    // The first message only begins the transaction: its refusal is that of the whole, and gets an index beyond all parts.
    Ok(refusals.into_iter().map(|(index, refusal)| (index.wrapping_sub(1), refusal)).collect())
}

fn apart(part: Part) -> impl Iterator<Item = Part> {
    let kind = part.kind;
    part.ops.into_iter().zip(part.alone).map(move |(op, request)| Part::new(kind, op, request))
}

/// Elements as few messages, set by set.
fn lists(mut changes: Vec<ElementChange>, kind: Kind) -> Vec<Part> {
    let change = if kind == Kind::Removal { element::Change::Remove } else { element::Change::Add };
    changes.sort_by(|a, b| a.set.cmp(&b.set));
    let mut parts = Vec::new();
    for of_set in changes.chunk_by(|a, b| a.set == b.set) {
        let bytes: Vec<Vec<u8>> = of_set.iter().map(|c| c.bytes.clone()).collect();
        let mut from = 0;
        for (request, count) in element::messages(&of_set[0].set, change, &bytes) {
            let here = &of_set[from..from + count];
            let alone = here.iter().flat_map(|c| element::messages(&c.set, change, std::slice::from_ref(&c.bytes)));
            let alone = if count > 1 { alone.map(|(request, _)| request).collect() } else { Vec::new() };
            parts.push(Part { kind, ops: here.iter().map(|c| c.op).collect(), alone, request });
            from += count;
        }
    }
    parts
}

fn check_element(set: &Set, key: &ElementKey, element: &Element) -> Result<(), Refusal> {
    use netstate::nft::ElementData;
    let spans = key.key.iter().zip(&set.key).all(|(span, t)| span.first.datatype() == *t && span.last.datatype() == *t);
    let ranges = set.interval || key.key.iter().all(|span| span.first == span.last);
    let data = match (&set.data, &element.data) {
        (SetData::None, ElementData::None) => true,
        (SetData::Values(types), ElementData::Values(values)) => {
            types.iter().copied().eq(values.iter().map(|v| v.datatype()))
        }
        (SetData::Verdict, ElementData::Verdict(_)) => true,
        _ => false,
    };
    match () {
        () if !spans || key.key.len() != set.key.len() || !data => {
            Err(Refusal::new(libc::EINVAL).because("the element is not of its set's types"))
        }
        () if !ranges => Err(Refusal::new(libc::EINVAL).because("the set has no ranges (flags interval)")),
        () => Ok(()),
    }
}

/// The set that elements are of: as it was last made or seen, or as the kernel says.
fn set_of(linux: &mut Linux, key: &SetKey) -> Result<Option<Set>, Refusal> {
    if let Some(set) = linux.sets.get(key) {
        return Ok(Some(set.clone()));
    }
    let socket = match linux.sockets(&key.table.netns) {
        Ok(sockets) => &mut sockets.netfilter,
        Err(refusal) if refusal.errno == libc::ENOENT => return Ok(None),
        Err(refusal) => return Err(refusal),
    };
    let there = match nft::set::list(socket, &key.table) {
        Err(refusal) if refusal.errno == libc::ENOENT => return Ok(None),
        other => other?,
    };
    linux.sets.extend(there);
    Ok(linux.sets.get(key).cloned())
}

/// Keeps what later operations and observations need to know.
fn remember(linux: &mut Linux, op: &Op) {
    match op {
        Op::Create { object: Object::Chain(chain), .. } | Op::Change { to: Object::Chain(chain), .. } => {
            linux.rules.add(chain)
        }
        Op::Delete { key: Key::Set(key), .. } => {
            linux.sets.remove(key);
        }
        Op::Delete { key: Key::Table(key), .. } => linux.sets.retain(|set, _| set.table != *key),
        _ => {}
    }
}

fn explain(refusal: Refusal) -> Refusal {
    let cause = match refusal.errno {
        _ if refusal.cause.is_some() || refusal.text.is_some() => return refusal,
        libc::ENOENT => "the table, chain or set it refers to is not there, or this kernel lacks an expression it uses",
        libc::EBUSY => "something still refers to it, or it is there with other content",
        libc::EEXIST | libc::ENOTEMPTY => "it overlaps an element that is there, or is there with another type",
        libc::EINVAL => "the kernel does not accept it in this place",
        libc::ERANGE | libc::EMLINK => "chains call each other in a circle or too deeply",
        _ => return refusal,
    };
    refusal.because(cause)
}
