//! Values as bytes: how registers, keys and data hold them.

use std::net::{Ipv4Addr, Ipv6Addr};

use netstate::nft::{Datatype, Value};

/// Length in bytes, without padding.
pub(crate) fn len(datatype: Datatype) -> usize {
    match datatype {
        Datatype::Ipv4Addr | Datatype::Mark => 4,
        Datatype::Ipv6Addr | Datatype::IfName => 16,
        Datatype::InetProto => 1,
        Datatype::InetService | Datatype::EtherType => 2,
    }
}

/// nft's number of the type (`enum datatypes`); set listings show it by name.
pub(crate) fn number(datatype: Datatype) -> u32 {
    match datatype {
        Datatype::Ipv4Addr => 7,
        Datatype::Ipv6Addr => 8,
        Datatype::EtherType => 10,
        Datatype::InetProto => 12,
        Datatype::InetService => 13,
        Datatype::Mark => 19,
        Datatype::IfName => 41,
    }
}

/// The type with nft's number.
pub(crate) fn by_number(number: u32) -> Option<Datatype> {
    Some(match number {
        7 => Datatype::Ipv4Addr,
        8 => Datatype::Ipv6Addr,
        10 => Datatype::EtherType,
        12 => Datatype::InetProto,
        13 => Datatype::InetService,
        19 => Datatype::Mark,
        41 => Datatype::IfName,
        _ => return None,
    })
}

/// Whether the bytes are in the host's order, which cannot be part of a range.
pub(crate) fn is_host_order(datatype: Datatype) -> bool {
    matches!(datatype, Datatype::Mark | Datatype::IfName)
}

/// A value's bytes, without padding.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    match value {
        Value::Ipv4(address) => address.octets().to_vec(),
        Value::Ipv6(address) => address.octets().to_vec(),
        Value::Proto(number) => vec![*number],
        Value::Port(number) | Value::EtherType(number) => number.to_be_bytes().to_vec(),
        Value::Mark(mark) => mark.to_ne_bytes().to_vec(),
        Value::IfName(name) => {
            let mut bytes = name.as_bytes().to_vec();
            bytes.resize(len(Datatype::IfName), 0);
            bytes
        }
    }
}

/// The value of this type that begins `bytes`; none when they are too few.
pub(crate) fn decode(datatype: Datatype, bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.get(..len(datatype))?;
    Some(match datatype {
        Datatype::Ipv4Addr => Value::Ipv4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        Datatype::Ipv6Addr => Value::Ipv6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        Datatype::InetProto => Value::Proto(bytes[0]),
        Datatype::InetService => Value::Port(u16::from_be_bytes(bytes.try_into().ok()?)),
        Datatype::EtherType => Value::EtherType(u16::from_be_bytes(bytes.try_into().ok()?)),
        Datatype::Mark => Value::Mark(u32::from_ne_bytes(bytes.try_into().ok()?)),
        Datatype::IfName => Value::IfName(crate::netlink::attr::text(bytes)),
    })
}

/// A concatenation: each field padded to four bytes. A single value is not padded.
pub(crate) fn concatenate<'a>(values: impl ExactSizeIterator<Item = &'a Value>) -> Vec<u8> {
    let alone = values.len() == 1;
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend(encode(value));
        if !alone {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

/// The fields of a concatenation of these types.
pub(crate) fn split(types: &[Datatype], mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for datatype in types {
        values.push(decode(*datatype, bytes)?);
        bytes = bytes.get(len(*datatype).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(values)
}

/// Length of a concatenation of these types.
pub(crate) fn concatenated_len(types: &[Datatype]) -> usize {
    match types {
        [one] => len(*one),
        many => many.iter().map(|t| len(*t).next_multiple_of(4)).sum(),
    }
}
