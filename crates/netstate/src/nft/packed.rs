//! The spans of an element's key, and the values of its data, packed. Of nothing are there as many: each is as many bytes as it needs,
//! most of them without memory of their own, and bytes sort as the values do.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    net::{Ipv4Addr, Ipv6Addr},
};

use super::{set::Span, value::Value};

/// The spans of an element's key, in the order of the set's fields.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spans(Bytes);

/// The values of an element's data, in the order of the set's data types.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Values(Bytes);

impl Spans {
    /// The spans.
    pub fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || read_span(&mut rest))
    }

    /// The span of a field.
    pub fn get(&self, field: usize) -> Option<Span> {
        self.iter().nth(field)
    }
}

impl Values {
    /// The values.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || read_value(&mut rest))
    }
}

impl FromIterator<Span> for Spans {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut bytes = Bytes::default();
        spans.into_iter().for_each(|span| write_span(&mut bytes, &span));
        Self(bytes)
    }
}

impl FromIterator<Value> for Values {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        let mut bytes = Bytes::default();
        values.into_iter().for_each(|value| write_value(&mut bytes, &value));
        Self(bytes)
    }
}

impl<const N: usize> From<[Span; N]> for Spans {
    fn from(spans: [Span; N]) -> Self {
        spans.into_iter().collect()
    }
}

impl<const N: usize> From<[Value; N]> for Values {
    fn from(values: [Value; N]) -> Self {
        values.into_iter().collect()
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// As nft writes them: `10.0.0.1 . tcp . 80-90`.
impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        concatenation(f, self.iter())
    }
}

/// As nft writes them: `10.0.0.1 . 80`.
impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        concatenation(f, self.iter())
    }
}

fn concatenation(f: &mut fmt::Formatter<'_>, fields: impl Iterator<Item = impl fmt::Display>) -> fmt::Result {
    for (i, field) in fields.enumerate() {
        write!(f, "{}{field}", if i == 0 { "" } else { " . " })?;
    }
    Ok(())
}

/// How many bytes are kept in place: enough for an IPv4 address, a protocol, a port and a mark.
const IN_PLACE: usize = 22;

/// A few bytes.
#[derive(Clone)]
enum Bytes {
    InPlace { len: u8, bytes: [u8; IN_PLACE] },
    Elsewhere(Box<[u8]>),
}

impl Bytes {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::InPlace { len, bytes } => &bytes[..usize::from(*len)],
            Self::Elsewhere(bytes) => bytes,
        }
    }

    fn extend(&mut self, more: &[u8]) {
        if let Self::InPlace { len, bytes } = self {
            let end = usize::from(*len) + more.len();
            if let Some(free) = bytes.get_mut(usize::from(*len)..end) {
                free.copy_from_slice(more);
                // It is no more than `IN_PLACE`.
                *len = end as u8;
                return;
            }
        }
        *self = Self::Elsewhere([self.as_slice(), more].concat().into());
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::InPlace { len: 0, bytes: [0; IN_PLACE] }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // What is free is zero, and sorts before whatever could be there.
            (Self::InPlace { len, bytes }, Self::InPlace { len: other_len, bytes: other_bytes }) => {
                numbers(bytes).cmp(&numbers(other_bytes)).then(len.cmp(other_len))
            }
            _ => self.as_slice().cmp(other.as_slice()),
        }
    }
}

/// Two numbers that sort as the bytes do.
fn numbers(bytes: &[u8; IN_PLACE]) -> (u128, u64) {
    let [mut first, mut rest] = [[0; 16], [0; 16]];
    first.copy_from_slice(&bytes[..16]);
    rest[..IN_PLACE - 16].copy_from_slice(&bytes[16..]);
    (u128::from_be_bytes(first), (u128::from_be_bytes(rest) >> 64) as u64)
}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

// What a value is: the first of its bytes. They are in the order of the variants of `Value`.
const IPV4: u8 = 0;
const IPV6: u8 = 1;
const PROTO: u8 = 2;
const PORT: u8 = 3;
const IFNAME: u8 = 4;
const MARK: u8 = 5;
const ETHER_TYPE: u8 = 6;

// What follows the first value of a span.
const ALONE: u8 = 0;
const UP_TO: u8 = 1;

fn write_span(bytes: &mut Bytes, span: &Span) {
    write_value(bytes, &span.first);
    if span.first == span.last {
        bytes.extend(&[ALONE]);
    } else {
        bytes.extend(&[UP_TO]);
        write_value(bytes, &span.last);
    }
}

fn read_span(rest: &mut &[u8]) -> Option<Span> {
    let first = read_value(rest)?;
    let [follows] = take(rest)?;
    let last = if follows == UP_TO { read_value(rest)? } else { first.clone() };
    Some(Span { first, last })
}

fn write_value(bytes: &mut Bytes, value: &Value) {
    match value {
        Value::Ipv4(address) => {
            let [a, b, c, d] = address.octets();
            bytes.extend(&[IPV4, a, b, c, d]);
        }
        Value::Ipv6(address) => {
            bytes.extend(&[IPV6]);
            bytes.extend(&address.octets());
        }
        Value::Proto(number) => bytes.extend(&[PROTO, *number]),
        Value::Port(number) => number_of_two(bytes, PORT, *number),
        // It ends before a zero, as in the kernel.
        Value::IfName(name) => {
            bytes.extend(&[IFNAME]);
            bytes.extend(name.split('\0').next().unwrap_or_default().as_bytes());
            bytes.extend(&[0]);
        }
        Value::Mark(mark) => {
            let [a, b, c, d] = mark.to_be_bytes();
            bytes.extend(&[MARK, a, b, c, d]);
        }
        Value::EtherType(number) => number_of_two(bytes, ETHER_TYPE, *number),
    }
}

fn number_of_two(bytes: &mut Bytes, kind: u8, number: u16) {
    let [high, low] = number.to_be_bytes();
    bytes.extend(&[kind, high, low]);
}

fn read_value(rest: &mut &[u8]) -> Option<Value> {
    let [kind] = take(rest)?;
    Some(match kind {
        IPV4 => Value::Ipv4(Ipv4Addr::from(take::<4>(rest)?)),
        IPV6 => Value::Ipv6(Ipv6Addr::from(take::<16>(rest)?)),
        PROTO => Value::Proto(take::<1>(rest)?[0]),
        PORT => Value::Port(u16::from_be_bytes(take(rest)?)),
        IFNAME => {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let name = String::from_utf8_lossy(&rest[..end]).into_owned();
            *rest = &rest[end + 1..];
            Value::IfName(name)
        }
        MARK => Value::Mark(u32::from_be_bytes(take(rest)?)),
        _ => Value::EtherType(u16::from_be_bytes(take(rest)?)),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<u32>().prop_map(|n| Value::Ipv4(n.into())),
            any::<u128>().prop_map(|n| Value::Ipv6(n.into())),
            any::<u8>().prop_map(Value::Proto),
            any::<u16>().prop_map(Value::Port),
            "[a-c]{0,15}".prop_map(Value::IfName),
            any::<u32>().prop_map(Value::Mark),
            any::<u16>().prop_map(Value::EtherType),
        ]
    }

    fn span() -> impl Strategy<Value = Span> {
        let range = (value(), value()).prop_map(|(a, b)| Span { first: a.clone().min(b.clone()), last: a.max(b) });
        prop_oneof![value().prop_map(Span::from), range]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_and_the_order_is_that_of_the_values(
            a in proptest::collection::vec(span(), 0..5),
            b in proptest::collection::vec(span(), 0..5),
        ) {
            let (packed, other): (Spans, Spans) = (a.iter().cloned().collect(), b.iter().cloned().collect());
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), a.clone());
            prop_assert_eq!(packed.cmp(&other), a.cmp(&b));
            let values: Vec<Value> = a.into_iter().map(|span| span.first).collect();
            let packed: Values = values.iter().cloned().collect();
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn one_of_a_service_has_no_memory_of_its_own() {
        let [a, b] = [Value::Ipv4([10, 96, 0, 1].into()), Value::Ipv4([10, 0, 0, 1].into())];
        let of_service = [a, Value::Proto(6), Value::Port(80), Value::Mark(1 << 30)].map(Span::from);
        assert!(matches!(Spans::from(of_service).0, Bytes::InPlace { .. }));
        assert!(matches!(Values::from([b, Value::Port(8080)]).0, Bytes::InPlace { .. }));
        assert_eq!(size_of::<crate::Object>(), size_of::<Spans>());
    }
}
