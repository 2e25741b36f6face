//! Sets and maps.

use std::sync::Arc;

use libc::{
    NFT_DATA_VERDICT, NFT_MSG_DELSET, NFT_MSG_GETSET, NFT_MSG_NEWSET, NFT_SET_ANONYMOUS, NFT_SET_EVAL,
    NFT_SET_INTERVAL, NFT_SET_MAP, NFT_SET_TIMEOUT, NLM_F_CREATE,
};
use netstate::nft::{Datatype, Filled, Set, SetData, SetKey, TableKey};

use super::{body, message_type, read, request, value};
use crate::{
    fault::Refusal,
    netlink::{Attributes, Request, Socket},
};

const TABLE: u16 = 1; // NFTA_SET_*
const NAME: u16 = 2;
const FLAGS: u16 = 3;
const KEY_TYPE: u16 = 4;
const KEY_LEN: u16 = 5;
const DATA_TYPE: u16 = 6;
const DATA_LEN: u16 = 7;
const DESC: u16 = 9;
const ID: u16 = 10;
const USERDATA: u16 = 13;
const DESC_SIZE: u16 = 1; // NFTA_SET_DESC_SIZE
const DESC_CONCAT: u16 = 2; // NFTA_SET_DESC_CONCAT
const LIST_ELEM: u16 = 1; // NFTA_LIST_ELEM
const FIELD_LEN: u16 = 1; // NFTA_SET_FIELD_LEN
const FLAG_CONCAT: u32 = 0x80; // NFT_SET_CONCAT
/// What packets may fill into one set; the kernel takes 65,535 when it is told nothing.
const PACKETS_FILL_UP_TO: u32 = 1 << 20;
/// `flags dynamic,timeout`
const FILLED_BY_PACKETS: u32 = (NFT_SET_EVAL | NFT_SET_TIMEOUT) as u32;
const TYPE_BITS: u32 = 6; // of one field in a concatenation's type number (nft's TYPE_BITS)
const UDATA_KEY_BYTE_ORDER: u8 = 0; // NFTNL_UDATA_SET_KEYBYTEORDER
const UDATA_DATA_BYTE_ORDER: u8 = 1; // NFTNL_UDATA_SET_DATABYTEORDER

/// Makes a set or map.
pub(crate) fn create(key: &SetKey, set: &Set) -> Result<Request, Refusal> {
    check(set)?;
    let mut w = body(&key.table);
    w.text(TABLE, key.table.name());
    w.text(NAME, &key.name);
    // Unused, but the kernel wants one.
    w.be32(ID, 1);
    w.be32(FLAGS, flags(set));
    w.be32(KEY_TYPE, type_number(&set.key));
    w.be32(KEY_LEN, value::concatenated_len(&set.key) as u32);
    match &set.data {
        SetData::None => {}
        SetData::Values(types) => {
            w.be32(DATA_TYPE, type_number(types));
            w.be32(DATA_LEN, value::concatenated_len(types) as u32);
        }
        SetData::Verdict => w.be32(DATA_TYPE, NFT_DATA_VERDICT),
    }
    if is_ranged_concatenation(set) {
        w.nest(DESC, |w| {
            w.nest(DESC_CONCAT, |w| {
                for datatype in &set.key {
                    w.nest(LIST_ELEM, |w| w.be32(FIELD_LEN, value::len(*datatype) as u32));
                }
            });
        });
    }
    if set.filled == Filled::ByPackets {
        w.nest(DESC, |w| w.be32(DESC_SIZE, PACKETS_FILL_UP_TO));
    }
    w.bytes(USERDATA, &userdata(set));
    Ok(request(NFT_MSG_NEWSET, NLM_F_CREATE, w))
}

/// Removes a set with its elements.
pub(crate) fn delete(key: &SetKey) -> Request {
    let mut w = body(&key.table);
    w.text(TABLE, key.table.name());
    w.text(NAME, &key.name);
    request(NFT_MSG_DELSET, 0, w)
}

/// The named sets of a table of ours. One with types that we never use has an empty key, so that it equals none that is desired.
pub(crate) fn list(socket: &mut Socket, table: &TableKey) -> Result<Vec<(Arc<SetKey>, Set)>, Refusal> {
    let sets = std::cell::RefCell::new(Vec::new());
    let mut ask = body(table);
    ask.text(TABLE, table.name());
    socket.dump(
        message_type(NFT_MSG_GETSET),
        &ask.0,
        || sets.borrow_mut().clear(),
        |message| sets.borrow_mut().extend(decode(table, read(message))),
    )?;
    Ok(sets.into_inner())
}

/// Whether the kernel keeps ranges as an element's key and end key (pipapo) rather than as two elements (rbtree).
pub(crate) fn is_ranged_concatenation(set: &Set) -> bool {
    set.interval && set.key.len() > 1
}

fn check(set: &Set) -> Result<(), Refusal> {
    let refuse = |why: &str| Err(Refusal::new(libc::EINVAL).because(why));
    let too_many = |types: &[Datatype]| types.is_empty() || types.len() > 5;
    if too_many(&set.key) || matches!(&set.data, SetData::Values(types) if too_many(types)) {
        return refuse("nft concatenates one to five fields");
    }
    if set.interval && set.key.iter().any(|t| value::is_host_order(*t)) {
        return refuse("marks and interface names have no ranges in nft; keep them out of interval sets");
    }
    Ok(())
}

fn flags(set: &Set) -> u32 {
    let mut flags = 0;
    if set.interval {
        flags |= NFT_SET_INTERVAL as u32;
    }
    if set.data != SetData::None {
        flags |= NFT_SET_MAP as u32;
    }
    if set.filled == Filled::ByPackets {
        flags |= FILLED_BY_PACKETS;
    }
    if is_ranged_concatenation(set) {
        flags |= FLAG_CONCAT;
    }
    flags
}

fn type_number(types: &[Datatype]) -> u32 {
    types.iter().fold(0, |number, t| number << TYPE_BITS | value::number(*t))
}

fn types(mut number: u32) -> Option<Vec<Datatype>> {
    let mut types = Vec::new();
    while number != 0 {
        types.push(value::by_number(number & ((1 << TYPE_BITS) - 1))?);
        number >>= TYPE_BITS;
    }
    types.reverse();
    Some(types)
}

/// What `nft list` needs to print keys and data: their byte order.
fn userdata(set: &Set) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |kind: u8, order: u32| {
        bytes.extend_from_slice(&[kind, 4]);
        bytes.extend_from_slice(&order.to_ne_bytes());
    };
    put(UDATA_KEY_BYTE_ORDER, byte_order(&set.key));
    if let SetData::Values(types) = &set.data {
        put(UDATA_DATA_BYTE_ORDER, byte_order(types));
    }
    bytes
}

/// nft's `enum byteorder`.
fn byte_order(types: &[Datatype]) -> u32 {
    const INVALID: u32 = 0;
    const HOST: u32 = 1;
    const BIG: u32 = 2;
    match types {
        [one] if value::is_host_order(*one) => HOST,
        [_] => BIG,
        _ => INVALID,
    }
}

fn decode(table: &TableKey, set: Attributes<'_>) -> Option<(Arc<SetKey>, Set)> {
    if set.text(TABLE)? != table.name() {
        return None;
    }
    let flags = set.be32(FLAGS).unwrap_or_default();
    if flags & NFT_SET_ANONYMOUS as u32 != 0 {
        return None;
    }
    let key = SetKey { table: table.clone(), name: set.text(NAME)? };
    let filled = match flags & FILLED_BY_PACKETS {
        0 => Filled::ByUs,
        _ => Filled::ByPackets,
    };
    let known = (NFT_SET_INTERVAL | NFT_SET_MAP) as u32 | FLAG_CONCAT | FILLED_BY_PACKETS;
    let data = match set.be32(DATA_TYPE) {
        Some(number) if number == NFT_DATA_VERDICT => Some(SetData::Verdict),
        Some(number) if flags & NFT_SET_MAP as u32 != 0 => types(number).map(SetData::Values),
        _ if flags & NFT_SET_MAP as u32 != 0 => None,
        _ => Some(SetData::None),
    };
    let interval = flags & NFT_SET_INTERVAL as u32 != 0;
    let ours = |(fields, data)| Set { key: fields, data, interval, filled };
    let foreign = Set { key: Vec::new(), data: SetData::None, interval, filled };
    let decoded = set.be32(KEY_TYPE).and_then(types).zip(data).filter(|_| flags & !known == 0);
    Some((key.into(), decoded.map_or(foreign, ours)))
}
