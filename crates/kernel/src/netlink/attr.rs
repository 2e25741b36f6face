//! Netlink attributes: type, length, value, padded to four bytes. nf_tables and conntrack integers are big-endian.

use libc::{NLA_F_NESTED, NLA_TYPE_MASK};

const HEADER_LEN: usize = 4;

/// Bytes of a message body that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    /// A body that begins with `header`.
    pub fn after(header: &[u8]) -> Self {
        Self(header.to_vec())
    }

    /// An attribute with these bytes. Lengths are checked by the callers' chunking: an attribute holds less than 64 KiB.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.header(kind, value.len());
        self.0.extend_from_slice(value);
        self.pad();
    }

    /// An attribute with the bytes that `fill` adds.
    pub fn filled(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.header(kind, 0);
        fill(&mut self.0);
        self.end(start);
        self.pad();
    }

    /// A text with the zero at its end that the kernel expects.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.header(kind, value.len() + 1);
        self.0.extend_from_slice(value.as_bytes());
        self.0.push(0);
        self.pad();
    }

    /// A big-endian 32-bit integer.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A big-endian 16-bit integer.
    pub fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute made of attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.header(kind | NLA_F_NESTED as u16, 0);
        fill(self);
        self.end(start);
    }

    /// The attribute that begins there ends here.
    fn end(&mut self, start: usize) {
        let len = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }

    fn header(&mut self, kind: u16, value_len: usize) {
        let len = u16::try_from(HEADER_LEN + value_len).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&len.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// The attributes in `bytes`; reading stops at the first that is malformed.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// Attributes by type and value.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// Attributes within the attribute of this type; none when it is absent.
    pub fn within(self, kind: u16) -> Attributes<'a> {
        attributes(self.get(kind).unwrap_or_default())
    }

    /// A text, without the zero at its end.
    pub fn text(self, kind: u16) -> Option<String> {
        self.get(kind).map(text)
    }

    /// A big-endian 32-bit integer.
    pub fn be32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A big-endian 16-bit integer.
    pub fn be16(self, kind: u16) -> Option<u16> {
        Some(u16::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let len = usize::from(u16::from_ne_bytes(self.rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.rest.get(2..HEADER_LEN)?.try_into().ok()?) & NLA_TYPE_MASK as u16;
        let value = self.rest.get(HEADER_LEN..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// Bytes up to the first zero as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let mut w = Writer::default();
        w.text(1, "lo");
        w.nest(2, |w| {
            w.be32(3, 7);
            w.bytes(4, &[9]);
        });
        let read = attributes(&w.0);
        assert_eq!(read.text(1).as_deref(), Some("lo"));
        assert_eq!(read.within(2).be32(3), Some(7));
        assert_eq!(read.within(2).get(4), Some(&[9][..]));
        assert_eq!(read.get(5), None);
    }

    #[test]
    fn stops_at_what_is_malformed() {
        for bad in [&[][..], &[4], &[0, 0, 1, 0], &[3, 0, 1, 0], &[9, 0, 1, 0, 1], &[255, 255, 0, 0]] {
            assert_eq!(attributes(bad).count(), 0, "{bad:?}");
        }
    }
}
