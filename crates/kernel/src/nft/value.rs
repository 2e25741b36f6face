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
    let mut bytes = Vec::new();
    append(&mut bytes, value);
    bytes
}

fn append(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Ipv4(address) => bytes.extend_from_slice(&address.octets()),
        Value::Ipv6(address) => bytes.extend_from_slice(&address.octets()),
        Value::Proto(number) => bytes.push(*number),
        Value::Port(number) | Value::EtherType(number) => bytes.extend_from_slice(&number.to_be_bytes()),
        Value::Mark(mark) => bytes.extend_from_slice(&mark.to_ne_bytes()),
        Value::IfName(name) => {
            let end = bytes.len() + len(Datatype::IfName);
            bytes.extend_from_slice(name.as_bytes());
            bytes.resize(end, 0);
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

/// Appends a concatenation: each field padded to four bytes. A single value is not padded.
pub(crate) fn concatenate(bytes: &mut Vec<u8>, values: impl Iterator<Item = Value>) {
    let start = bytes.len();
    for (field, value) in values.enumerate() {
        if field == 1 {
            bytes.resize(start + (bytes.len() - start).next_multiple_of(4), 0);
        }
        append(bytes, &value);
        if field > 0 {
            bytes.resize(start + (bytes.len() - start).next_multiple_of(4), 0);
        }
    }
}

/// The fields of a concatenation of these types; one that cannot be read is none.
pub(crate) fn split<'b>(types: &'b [Datatype], bytes: &'b [u8]) -> impl Iterator<Item = Option<Value>> + 'b {
    types.iter().scan(bytes, |rest, datatype| {
        let value = decode(*datatype, rest);
        *rest = rest.get(len(*datatype).next_multiple_of(4)..).unwrap_or_default();
        Some(value)
    })
}

/// Length of a concatenation of these types.
pub(crate) fn concatenated_len(types: &[Datatype]) -> usize {
    match types {
        [one] => len(*one),
        many => many.iter().map(|t| len(*t).next_multiple_of(4)).sum(),
    }
}
