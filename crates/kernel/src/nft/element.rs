//! Elements of sets and maps. The kernel keeps a range in two ways: in a set of one field as two elements, the second of which marks
//! the first value after the range; in a concatenation as one element with a key and an end key.

use libc::{
    NF_DROP, NFT_JUMP, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM, NFT_SET_ELEM_INTERVAL_END,
    NLM_F_CREATE,
};
use netstate::nft::{Element, ElementData, ElementKey, MapVerdict, Set, SetData, SetKey, Span, Value};

use super::{body, message_type, read, request, set::is_ranged_concatenation, value};
use crate::{
    fault::Refusal,
    netlink::{Attributes, Request, Socket, Writer, attributes},
};

const TABLE: u16 = 1; // NFTA_SET_ELEM_LIST_*
const SET: u16 = 2;
const ELEMENTS: u16 = 3;
const LIST_ELEM: u16 = 1; // NFTA_LIST_ELEM
const KEY: u16 = 1; // NFTA_SET_ELEM_*
const DATA: u16 = 2;
const FLAGS: u16 = 3;
const KEY_END: u16 = 10;
const VALUE: u16 = 1; // NFTA_DATA_VALUE
const VERDICT: u16 = 2; // NFTA_DATA_VERDICT
const VERDICT_CODE: u16 = 1; // NFTA_VERDICT_CODE
const VERDICT_CHAIN: u16 = 2; // NFTA_VERDICT_CHAIN
/// An attribute's length is 16 bits; a message carries one list, and lists stay well below that.
const LIST_BYTES: usize = 48 << 10;

/// What happens to elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Add,
    Remove,
}

/// An element of a set as the attributes that stand for it.
pub(crate) fn encode(set: &Set, key: &ElementKey, element: &Element, change: Change) -> Result<Vec<u8>, Refusal> {
    let (first, last) = (fields(key, |s| &s.first), fields(key, |s| &s.last));
    if first.iter().zip(&last).any(|(first, last)| last < first) {
        return Err(Refusal::new(libc::EINVAL).because("a range ends before it begins"));
    }
    let data = if change == Change::Add { encoded(&element.data) } else { None };
    let start = value::concatenate(first.into_iter());
    let end = value::concatenate(last.into_iter());
    if is_ranged_concatenation(set) {
        // Even where it is the start: nft 1.0.6 takes neighbours without an end for one range.
        return Ok(one(&start, Some(&end), data));
    }
    let mut w = Writer(one(&start, None, data));
    if set.interval {
        end_after(&mut w, &end);
    }
    Ok(w.0)
}

/// Messages that add or remove encoded elements of one set, several to a message. With each goes how many elements it carries.
pub(crate) fn messages(set: &SetKey, change: Change, elements: &[Vec<u8>]) -> Vec<(Request, usize)> {
    let mut messages = Vec::new();
    let mut rest = elements;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest
            .iter()
            .take_while(|e| {
                bytes += e.len();
                bytes <= LIST_BYTES
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(fits);
        messages.push((message(set, change, now), fits));
        rest = later;
    }
    messages
}

/// The elements of a set of ours.
pub(crate) fn list(socket: &mut Socket, key: &SetKey, set: &Set) -> Result<Vec<(ElementKey, Element)>, Refusal> {
    let raw = std::cell::RefCell::new(Vec::new());
    let mut ask = body(&key.table);
    ask.text(TABLE, key.table.name());
    ask.text(SET, &key.name);
    socket.dump(
        message_type(NFT_MSG_GETSETELEM),
        &ask.0,
        || raw.borrow_mut().clear(),
        |message| raw.borrow_mut().extend(read(message).within(ELEMENTS).filter_map(|(_, element)| Raw::read(element))),
    )?;
    let raw = raw.into_inner();
    let spans = if set.interval && !is_ranged_concatenation(set) { join(set, raw) } else { whole(set, raw) };
    let element = |(span, data)| (ElementKey { set: key.clone(), key: span }, Element { data });
    Ok(spans.into_iter().map(element).collect())
}

fn message(set: &SetKey, change: Change, elements: &[Vec<u8>]) -> Request {
    let mut w = body(&set.table);
    w.text(TABLE, set.table.name());
    w.text(SET, &set.name);
    w.nest(ELEMENTS, |w| elements.iter().for_each(|e| w.0.extend_from_slice(e)));
    match change {
        Change::Add => request(NFT_MSG_NEWSETELEM, NLM_F_CREATE, w),
        Change::Remove => request(NFT_MSG_DELSETELEM, 0, w),
    }
}

fn fields<'a>(key: &'a ElementKey, side: impl Fn(&'a Span) -> &'a Value) -> Vec<&'a Value> {
    key.key.iter().map(side).collect()
}

fn one(key: &[u8], end: Option<&[u8]>, data: Option<Vec<u8>>) -> Vec<u8> {
    let mut w = Writer::default();
    w.nest(LIST_ELEM, |w| {
        w.nest(KEY, |w| w.bytes(VALUE, key));
        if let Some(end) = end {
            w.nest(KEY_END, |w| w.bytes(VALUE, end));
        }
        if let Some(data) = data {
            w.nest(DATA, |w| w.0.extend(data));
        }
    });
    w.0
}

/// The attribute that stands for an element's data.
fn encoded(data: &ElementData) -> Option<Vec<u8>> {
    let mut w = Writer::default();
    match data {
        ElementData::None => return None,
        ElementData::Values(values) => w.bytes(VALUE, &value::concatenate(values.iter())),
        ElementData::Verdict(verdict) => w.nest(VERDICT, |w| match verdict {
            MapVerdict::Drop => w.be32(VERDICT_CODE, NF_DROP as u32),
            MapVerdict::Jump(chain) => {
                w.be32(VERDICT_CODE, NFT_JUMP as u32);
                w.text(VERDICT_CHAIN, chain);
            }
        }),
    }
    Some(w.0)
}

/// The element that marks the first value after `last`. After the greatest there is none, and the range stays open.
fn end_after(w: &mut Writer, last: &[u8]) {
    let mut after = last.to_vec();
    for byte in after.iter_mut().rev() {
        let overflows;
        (*byte, overflows) = byte.overflowing_add(1);
        if !overflows {
            w.nest(LIST_ELEM, |w| {
                w.be32(FLAGS, NFT_SET_ELEM_INTERVAL_END as u32);
                w.nest(KEY, |w| w.bytes(VALUE, &after));
            });
            return;
        }
    }
}

/// An element as the kernel lists it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Raw {
    key: Vec<u8>,
    role: Role,
    key_end: Option<Vec<u8>>,
    data: Option<Vec<u8>>,
    verdict: Option<RawVerdict>,
}

/// A verdict's code, and the chain it calls.
type RawVerdict = (u32, Option<String>);

fn verdict(attributes: Attributes<'_>) -> Option<RawVerdict> {
    Some((attributes.be32(VERDICT_CODE)?, attributes.text(VERDICT_CHAIN)))
}

/// An end sorts before a start at the same key: one range ends where the next begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    End,
    Start,
}

impl Raw {
    fn read(bytes: &[u8]) -> Option<Self> {
        let element = attributes(bytes);
        let is_end = element.be32(FLAGS).unwrap_or_default() & NFT_SET_ELEM_INTERVAL_END as u32 != 0;
        let value = |kind| element.within(kind).get(VALUE).map(<[u8]>::to_vec);
        Some(Self {
            key: value(KEY)?,
            role: if is_end { Role::End } else { Role::Start },
            key_end: value(KEY_END),
            data: value(DATA),
            verdict: verdict(element.within(DATA).within(VERDICT)),
        })
    }
}

type Decoded = (Vec<Span>, ElementData);

fn whole(set: &Set, raw: Vec<Raw>) -> Vec<Decoded> {
    let decode = |element: Raw| {
        let first = value::split(&set.key, &element.key)?;
        let last = match &element.key_end {
            Some(end) => value::split(&set.key, end)?,
            None => first.clone(),
        };
        let spans = first.into_iter().zip(last).map(|(first, last)| Span { first, last }).collect();
        Some((spans, data(set, element)?))
    };
    raw.into_iter().filter_map(decode).collect()
}

/// Puts the starts and ends of ranges together; an end without a start is the kernel's own.
fn join(set: &Set, mut raw: Vec<Raw>) -> Vec<Decoded> {
    let [datatype] = set.key[..] else { return Vec::new() };
    raw.sort();
    let mut spans = Vec::new();
    let mut elements = raw.into_iter().peekable();
    while let Some(start) = elements.next() {
        if start.role == Role::End {
            continue;
        }
        let last = match elements.peek() {
            Some(end) => before(&end.key),
            None => vec![0xff; value::len(datatype)],
        };
        let span = value::decode(datatype, &start.key).zip(value::decode(datatype, &last));
        if let (Some((first, last)), Some(data)) = (span, data(set, start)) {
            spans.push((vec![Span { first, last }], data));
        }
    }
    spans
}

fn before(key: &[u8]) -> Vec<u8> {
    let mut last = key.to_vec();
    for byte in last.iter_mut().rev() {
        let underflows;
        (*byte, underflows) = byte.overflowing_sub(1);
        if !underflows {
            break;
        }
    }
    last
}

fn data(set: &Set, element: Raw) -> Option<ElementData> {
    Some(match (&set.data, element.verdict) {
        (SetData::None, _) => ElementData::None,
        (SetData::Values(types), _) => ElementData::Values(value::split(types, &element.data?)?),
        (SetData::Verdict, Some((code, None))) if code == NF_DROP as u32 => ElementData::Verdict(MapVerdict::Drop),
        (SetData::Verdict, Some((code, Some(chain)))) if code == NFT_JUMP as u32 => {
            ElementData::Verdict(MapVerdict::Jump(chain))
        }
        // One that we never write: it equals none that is desired.
        (SetData::Verdict, _) => ElementData::None,
    })
}
