//! nftables: neighbouring operations on one table as one transaction, which happens whole or not at all.
//!
//! Nobody sees the inside of a transaction, so what counts is what becomes of each object, not the order of the operations. The
//! messages always go out in one order: what goes is unlinked and removed, what comes is made, then come rules and elements.

use std::sync::Arc;

use libc::NLM_F_ACK;
use netstate::{
    Key, Object, Op,
    netns::NetnsName,
    nft::{Chain, ChainKey, ElementData, ElementKey, Set, SetData, SetKey, Span, Value},
};

use super::{Failure, mismatch};
use crate::{
    fault::Refusal,
    linux::Linux,
    netlink::{Request, Socket},
    nft::{self, element},
};

/// From so many elements on nobody is told of each.
const UNTOLD: usize = 256;

/// Carries out operations on one table.
pub(crate) fn apply(linux: &mut Linux, ops: &[Op]) -> Result<(), Failure> {
    let netns = ops[0].key().netns().clone();
    let mut transaction = Transaction::default();
    for (key, fate) in fates(ops)? {
        transaction.add(linux, key, &fate).map_err(refused(fate.at))?;
    }
    let parts = transaction.parts(linux)?;
    let elements: usize = parts.iter().filter(|part| part.set.is_some()).map(|part| part.ops.len()).sum();
    let news = linux.own.rule_news().filter(|_| netns == NetnsName::Host && elements >= UNTOLD);
    let sent = match (linux.sockets(&netns).map(|sockets| &mut sockets.netfilter), news) {
        (Ok(socket), Some(news)) => news.without(socket, |socket| commit(socket, ops, parts)),
        (Ok(socket), None) => commit(socket, ops, parts),
        // The namespace is gone with all that was to be removed.
        (Err(refusal), _) if refusal.errno == libc::ENOENT && parts.iter().all(|p| p.kind == Kind::Removal) => Ok(()),
        (Err(refusal), _) => Err(Failure { at: 0, in_effect: 0, refusal }),
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
    /// The set of the elements that they are about.
    set: Option<Arc<Set>>,
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
        Self { kind, ops: vec![op], set: None, request }
    }
}

/// Messages by what they do, in the order in which they go out.
#[derive(Default)]
struct Transaction<'a> {
    tables: Vec<Part>,
    flushes: Vec<Part>,
    element_removals: Vec<(usize, &'a ElementKey, &'a ElementData)>,
    chain_removals: Vec<Part>,
    set_removals: Vec<Part>,
    table_removals: Vec<Part>,
    sets: Vec<Part>,
    chains: Vec<Part>,
    rules: Vec<Part>,
    elements: Vec<(usize, &'a ElementKey, &'a ElementData)>,
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

/// In order of key: elements of one set follow each other.
fn fates(ops: &[Op]) -> Result<Vec<(&Key, Fate<'_>)>, Failure> {
    let mut places: Vec<(&Key, usize)> = ops.iter().zip(0..).map(|(op, at)| (op.key(), at)).collect();
    places.sort();
    let fates: Vec<_> =
        places.chunk_by(|(a, _), (b, _)| a == b).map(|places| (places[0].0, fate(ops, places))).collect();
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
        Some((_, fate)) => Err(refused(fate.at)(mismatch())),
        None => Ok(fates),
    }
}

/// By the operations at these places.
fn fate<'a>(ops: &'a [Op], places: &[(&Key, usize)]) -> Fate<'a> {
    let mut fate = Fate::default();
    for (_, at) in places {
        fate.at = *at;
        match &ops[*at] {
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
    fate
}

/// The whole is refused for the operation at this place.
fn refused(at: usize) -> impl FnOnce(Refusal) -> Failure {
    move |refusal| Failure { at, in_effect: 0, refusal }
}

/// A set's types and an element's data cannot be changed, and a chain is tied to its hook.
fn is_changed_in_place(from: &Object, to: &Object) -> bool {
    match (from, to) {
        (Object::Chain(a), Object::Chain(b)) => {
            let hook = |chain: &Chain| chain.base.as_ref().map(|base| (base.kind, base.hook, base.priority));
            hook(a) == hook(b)
        }
        (Object::Table(_), _) => true,
        _ => false,
    }
}

impl<'a> Transaction<'a> {
    fn add(&mut self, linux: &mut Linux, key: &'a Key, fate: &Fate<'a>) -> Result<(), Refusal> {
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
            Key::Element(key) if fate.removed => self.element_removals.push((at, key, &ElementData::None)),
            _ => {}
        }
        match (key, fate.made) {
            (Key::Table(key), Some(_)) => self.tables.push(Part::new(Kind::Addition, at, nft::table::create(key))),
            (Key::Set(key), Some(Object::Set(set))) => self.add_set(linux, at, key, set)?,
            (Key::Chain(key), Some(Object::Chain(chain))) => self.add_chain(linux, at, key, chain)?,
            (Key::Element(key), Some(Object::Element(element))) => self.elements.push((at, key, &element.data)),
            _ => {}
        }
        Ok(())
    }

    fn add_set(&mut self, linux: &mut Linux, at: usize, key: &Arc<SetKey>, set: &Set) -> Result<(), Refusal> {
        self.sets.push(Part::new(Kind::Addition, at, nft::set::create(key, set)?));
        // The elements that follow are encoded by it.
        linux.sets.insert(key.clone(), set.clone().into());
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

    fn parts(self, linux: &mut Linux) -> Result<Vec<Part>, Failure> {
        let element_removals = lists(linux, Kind::Removal, &self.element_removals)?;
        let elements = lists(linux, Kind::Addition, &self.elements)?;
        let parts = [
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
        .collect();
        Ok(parts)
    }
}

/// Sends a transaction. What it removes and is gone already is left out and the rest sent again; a message for several elements is
/// taken apart to know which one was meant.
fn commit(socket: &mut Socket, ops: &[Op], mut parts: Vec<Part>) -> Result<(), Failure> {
    loop {
        if parts.is_empty() {
            return Ok(());
        }
        let refusals = send(socket, &mut parts).map_err(refused(0))?;
        if refusals.is_empty() {
            return Ok(());
        }
        let mut by_part: Vec<Option<Refusal>> = vec![None; parts.len()];
        for (index, refusal) in refusals {
            match by_part.get_mut(index) {
                Some(slot) => *slot = Some(refusal),
                None => return Err(refused(parts[0].ops[0])(refusal)),
            }
        }
        let mut next = Vec::with_capacity(parts.len());
        for (part, refusal) in parts.into_iter().zip(by_part) {
            match refusal {
                None => next.push(part),
                Some(_) if part.ops.len() > 1 => next.extend(apart(ops, &part)?),
                Some(refusal) if part.kind == Kind::Removal && refusal.errno == libc::ENOENT => {}
                Some(refusal) => return Err(refused(part.ops[0])(explain(refusal))),
            }
        }
        parts = next;
    }
}

fn send(socket: &mut Socket, parts: &mut [Part]) -> Result<Vec<(usize, Refusal)>, Refusal> {
    let [begin, end] = nft::batch();
    // The kernel does not acknowledge the end.
    if let Some(last) = parts.last_mut() {
        last.request.flags |= NLM_F_ACK as u16;
    }
    let requests: Vec<_> = [&begin].into_iter().chain(parts.iter().map(|part| &part.request)).chain([&end]).collect();
    let refusals = socket.exchange(&requests, |_| ())?;
    // The first message only begins the transaction: its refusal is that of the whole, and gets an index beyond all parts.
    Ok(refusals.into_iter().map(|(index, refusal)| (index.wrapping_sub(1), refusal)).collect())
}

/// A part with several elements as one for each.
fn apart(ops: &[Op], part: &Part) -> Result<Vec<Part>, Failure> {
    let alone = part.ops.iter().map(|at| {
        let (key, data) = match &ops[*at] {
            Op::Create { key: Key::Element(key), object: Object::Element(element) }
            | Op::Change { key: Key::Element(key), to: Object::Element(element), .. }
            | Op::Delete { key: Key::Element(key), object: Object::Element(element), .. } => (key, &element.data),
            _ => return Err(refused(*at)(mismatch())),
        };
        list(part.kind, part.set.as_ref(), &[(*at, key, data)])
    });
    Ok(alone.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Elements as few messages, set by set.
fn lists(linux: &mut Linux, kind: Kind, elements: &[(usize, &ElementKey, &ElementData)]) -> Result<Vec<Part>, Failure> {
    let mut parts = Vec::new();
    for of_set in elements.chunk_by(|(_, a, _), (_, b, _)| a.set == b.set) {
        let set = set_of(linux, &of_set[0].1.set).map_err(refused(of_set[0].0))?;
        parts.extend(list(kind, set.as_ref(), of_set)?);
    }
    Ok(parts)
}

/// Elements of one set. When the set goes, so do they.
fn list(
    kind: Kind,
    set: Option<&Arc<Set>>,
    elements: &[(usize, &ElementKey, &ElementData)],
) -> Result<Vec<Part>, Failure> {
    let Some((at, first, _)) = elements.first() else { return Ok(Vec::new()) };
    let (set, change) = match (set, kind) {
        (Some(set), Kind::Removal) => (set, element::Change::Remove),
        (Some(set), Kind::Addition) => (set, element::Change::Add),
        (None, Kind::Removal) => return Ok(Vec::new()),
        (None, Kind::Addition) => {
            let cause = format!("there is no set {}", first.set);
            return Err(refused(*at)(Refusal::new(libc::ENOENT).because(cause)));
        }
    };
    if kind == Kind::Addition {
        for (at, key, data) in elements {
            check_element(set, key, data).map_err(refused(*at))?;
        }
    }
    let messages = element::messages((&first.set, set), change, elements.iter().copied());
    let part = |(request, ops)| Part { kind, ops, set: Some(Arc::clone(set)), request };
    Ok(messages.map_err(|(at, refusal)| refused(at)(refusal))?.into_iter().map(part).collect())
}

fn check_element(set: &Set, key: &ElementKey, data: &ElementData) -> Result<(), Refusal> {
    let types = |of: fn(Span) -> Value| key.key.iter().map(move |span| of(span).datatype());
    let spans =
        types(|span| span.first).eq(set.key.iter().copied()) && types(|span| span.last).eq(set.key.iter().copied());
    let ranges = set.interval || key.key.iter().all(|span| span.first == span.last);
    let data = match (&set.data, data) {
        (SetData::None, ElementData::None) => true,
        (SetData::Values(types), ElementData::Values(values)) => {
            types.iter().copied().eq(values.iter().map(|v| v.datatype()))
        }
        (SetData::Verdict, ElementData::Verdict(_)) => true,
        _ => false,
    };
    match () {
        () if !spans || !data => Err(Refusal::new(libc::EINVAL).because("the element is not of its set's types")),
        () if !ranges => Err(Refusal::new(libc::EINVAL).because("the set has no ranges (flags interval)")),
        () => Ok(()),
    }
}

/// The set that elements are of: as it was last made or seen, or as the kernel says.
fn set_of(linux: &mut Linux, key: &SetKey) -> Result<Option<Arc<Set>>, Refusal> {
    if let Some(set) = linux.sets.get(key) {
        return Ok(Some(Arc::clone(set)));
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
    linux.sets.extend(there.into_iter().map(|(key, set)| (key, set.into())));
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
