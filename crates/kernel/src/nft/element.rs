//! Elements of sets and maps. The kernel keeps a range in two ways: in a set of one field as two elements, the second of which marks
//! the first value after the range; in a concatenation as one element with a key and an end key.

use std::sync::Arc;

use libc::{
    NF_DROP, NFT_JUMP, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM, NFT_SET_ELEM_INTERVAL_END,
    NLM_F_CREATE,
};
use netstate::nft::{Element, ElementData, ElementKey, MapVerdict, Set, SetData, SetKey, Span, Spans};

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

/// A message about elements, and their places.
type List = (Request, Vec<usize>);

/// Messages that add or remove elements of one set, several to a message, each with the places of its elements. An element that cannot be
/// written is refused by its place.
pub(crate) fn messages<'e>(
    (key, set): (&SetKey, &Set),
    change: Change,
    elements: impl Iterator<Item = (usize, &'e ElementKey, &'e ElementData)>,
) -> Result<Vec<List>, (usize, Refusal)> {
    let mut messages = Vec::new();
    let (mut list, mut places) = (Writer::default(), Vec::new());
    for (place, element, data) in elements {
        let start = list.0.len();
        let data = (change == Change::Add).then_some(data);
        write(&mut list, set, &element.key, data).map_err(|refusal| (place, refusal))?;
        if list.0.len() > LIST_BYTES && start > 0 {
            let next = list.0.split_off(start);
            messages.push((message(key, change, &list.0), std::mem::take(&mut places)));
            list.0 = next;
        }
        places.push(place);
    }
    if !places.is_empty() {
        messages.push((message(key, change, &list.0), places));
    }
    Ok(messages)
}

/// An element of a set as the attributes that stand for it; without data where it is only named.
fn write(w: &mut Writer, set: &Set, key: &Spans, data: Option<&ElementData>) -> Result<(), Refusal> {
    if key.iter().any(|span| span.last < span.first) {
        return Err(Refusal::new(libc::EINVAL).because("a range ends before it begins"));
    }
    let first = |bytes: &mut Vec<u8>| value::concatenate(bytes, key.iter().map(|span| span.first));
    let last = |bytes: &mut Vec<u8>| value::concatenate(bytes, key.iter().map(|span| span.last));
    w.nest(LIST_ELEM, |w| {
        w.nest(KEY, |w| w.filled(VALUE, first));
        // Even where it is the start: nft 1.0.6 takes neighbours without an end for one range.
        if is_ranged_concatenation(set) {
            w.nest(KEY_END, |w| w.filled(VALUE, last));
        }
        match data {
            None | Some(ElementData::None) => {}
            Some(data) => w.nest(DATA, |w| write_data(w, data)),
        }
    });
    if set.interval && !is_ranged_concatenation(set) {
        let mut bytes = Vec::new();
        last(&mut bytes);
        end_after(w, bytes);
    }
    Ok(())
}

/// The elements of a set of ours.
pub(crate) fn list(socket: &mut Socket, key: &Arc<SetKey>, set: &Set) -> Result<Vec<(ElementKey, Element)>, Refusal> {
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
    let decoded = if set.interval && !is_ranged_concatenation(set) { join(set, raw) } else { whole(set, raw) };
    let element = |(spans, data)| (ElementKey { set: key.clone(), key: spans }, Element { data });
    Ok(decoded.into_iter().map(element).collect())
}

fn message(set: &SetKey, change: Change, elements: &[u8]) -> Request {
    let mut w = body(&set.table);
    w.text(TABLE, set.table.name());
    w.text(SET, &set.name);
    w.nest(ELEMENTS, |w| w.0.extend_from_slice(elements));
    match change {
        Change::Add => request(NFT_MSG_NEWSETELEM, NLM_F_CREATE, w),
        Change::Remove => request(NFT_MSG_DELSETELEM, 0, w),
    }
}

/// The attribute that stands for an element's data.
fn write_data(w: &mut Writer, data: &ElementData) {
    match data {
        ElementData::None => {}
        ElementData::Values(values) => w.filled(VALUE, |bytes| value::concatenate(bytes, values.iter())),
        ElementData::Verdict(verdict) => w.nest(VERDICT, |w| match verdict {
            MapVerdict::Drop => w.be32(VERDICT_CODE, NF_DROP as u32),
            MapVerdict::Jump(chain) => {
                w.be32(VERDICT_CODE, NFT_JUMP as u32);
                w.text(VERDICT_CHAIN, chain);
            }
        }),
    }
}

/// The element that marks the first value after `last`. After the greatest there is none, and the range stays open.
fn end_after(w: &mut Writer, last: Vec<u8>) {
    let mut after = last;
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

type Decoded = (Spans, ElementData);

fn whole(set: &Set, raw: Vec<Raw>) -> Vec<Decoded> {
    let decode = |element: Raw| {
        let end = element.key_end.as_ref().unwrap_or(&element.key);
        let both = value::split(&set.key, &element.key).zip(value::split(&set.key, end));
        let spans = both.map(|(first, last)| Some(Span { first: first?, last: last? })).collect::<Option<_>>()?;
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
            spans.push(([Span { first, last }].into(), data));
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
        (SetData::Values(types), _) => ElementData::Values(value::split(types, &element.data?).collect::<Option<_>>()?),
        (SetData::Verdict, Some((code, None))) if code == NF_DROP as u32 => ElementData::Verdict(MapVerdict::Drop),
        (SetData::Verdict, Some((code, Some(chain)))) if code == NFT_JUMP as u32 => {
            ElementData::Verdict(MapVerdict::Jump(chain.into()))
        }
        // One that we never write: it equals none that is desired.
        (SetData::Verdict, _) => ElementData::None,
    })
}
