//! The DNS message format (RFC 1035 section 4, RFC 6891), as far as a forwarding server needs it: one question is read, addresses
//! and names are written, and everything else passes through unread. Reading takes no memory of its own; writing appends to the
//! caller's buffer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Length of the header in octets.
pub const HEADER: usize = 12;
/// The largest UDP message that every client accepts, in octets (RFC 1035 section 4.2.1).
pub const MIN_UDP: usize = 512;
/// The largest UDP message that we send or accept, in octets.
pub const MAX_UDP: usize = 4096;
/// The largest TCP message in octets.
pub const MAX_TCP: usize = 65_535;

/// Record types that are answered from our own names.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Another name.
    pub const CNAME: u16 = 5;
    /// Who speaks for a zone.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Place of a service.
    pub const SRV: u16 = 33;
    /// EDNS options.
    pub const OPT: u16 = 41;
    /// Whatever there is.
    pub const ANY: u16 = 255;
}

/// Response codes. Above 15 they need EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rcode {
    /// An answer, maybe an empty one.
    NoError = 0,
    /// The query makes no sense.
    FormErr = 1,
    /// Try later, or elsewhere.
    ServFail = 2,
    /// There is no such name, nor any below it.
    NxDomain = 3,
    /// Not a kind of query we do.
    NotImp = 4,
    /// An EDNS version that we do not speak.
    BadVers = 16,
}

/// A query, borrowed from its packet.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    packet: &'a [u8],
    /// Name, type and class as they came.
    pub question: &'a [u8],
    /// The name, when it can be one of ours.
    pub name: Option<LowerName>,
    /// Record type asked for.
    pub kind: u16,
    /// EDNS, if the client speaks it.
    pub edns: Option<Edns>,
}

/// What a client said by EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message it takes, in octets.
    pub payload: u16,
    /// Protocol version; only 0 exists.
    pub version: u8,
    /// It wants DNSSEC records.
    pub dnssec_ok: bool,
}

/// A packet that is not a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Too short to answer, or itself an answer: saying anything could start a loop.
    Silently,
    /// It has a header, so its sender can be told.
    With(Rcode),
}

/// A name in lower case, labels joined by dots, without the final one. The root is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerName {
    text: [u8; 255],
    length: u8,
}

impl<'a> Query<'a> {
    /// Reads a packet.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Rejected> {
        let header = packet.first_chunk::<HEADER>().ok_or(Rejected::Silently)?;
        if header[2] & 0x80 != 0 {
            return Err(Rejected::Silently);
        }
        if header[2] & 0x78 != 0 {
            return Err(Rejected::With(Rcode::NotImp));
        }
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Self::parse_body(packet, count(4), [count(6), count(8), count(10)]).ok_or(Rejected::With(Rcode::FormErr))
    }

    fn parse_body(packet: &'a [u8], questions: u16, records: [u16; 3]) -> Option<Self> {
        if questions != 1 {
            return None;
        }
        let mut cursor = Cursor { packet, at: HEADER };
        let name = cursor.question_name()?;
        let kind = cursor.u16()?;
        cursor.u16()?;
        let question = &packet[HEADER..cursor.at];

        let mut edns = None;
        for (section, count) in records.into_iter().enumerate() {
            for _ in 0..count {
                let found = cursor.record()?;
                if section == 2 && edns.is_some() && found.is_some() {
                    return None;
                }
                edns = edns.or(found.filter(|_| section == 2));
            }
        }
        Some(Self { packet, question, name, kind, edns })
    }

    /// The largest UDP answer that the client takes.
    pub fn udp_limit(&self) -> usize {
        self.edns.map_or(MIN_UDP, |edns| usize::from(edns.payload).clamp(MIN_UDP, MAX_UDP))
    }
}

impl LowerName {
    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.text[..usize::from(self.length)]).ok()
    }

    /// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
    pub fn reverse(&self) -> Option<IpAddr> {
        let name = self.as_str()?;
        if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
            let address: Ipv4Addr = octets.parse().ok()?;
            let [a, b, c, d] = address.octets();
            return Some(Ipv4Addr::new(d, c, b, a).into());
        }
        let nibbles = name.strip_suffix(".ip6.arpa")?;
        let mut value = 0u128;
        let mut count = 0;
        for nibble in nibbles.rsplit('.') {
            let digit = nibble.chars().next().filter(|_| nibble.len() == 1)?.to_digit(16)?;
            value = value << 4 | u128::from(digit);
            count += 1;
        }
        (count == 32).then(|| Ipv6Addr::from(value).into())
    }
}

/// The id in a message that is long enough to have one; 0 else.
pub fn id(message: &[u8]) -> u16 {
    message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id))
}

/// Gives a message another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(field) = message.first_chunk_mut() {
        *field = id.to_be_bytes();
    }
}

/// Whether `message` answers the query with this id and question. A failure may leave the question out, as some servers do.
pub fn answers(message: &[u8], id_sent: u16, question: &[u8]) -> bool {
    let Some(header) = message.first_chunk::<HEADER>() else { return false };
    if header[2] & 0x80 == 0 || id(message) != id_sent {
        return false;
    }
    match (header[4], header[5]) {
        (0, 1) => message[HEADER..].get(..question.len()).is_some_and(|echoed| echoed.eq_ignore_ascii_case(question)),
        (0, 0) => matches!(rcode(message), 1 | 2 | 4 | 5),
        _ => false,
    }
}

/// The lower four bits of the response code.
pub fn rcode(message: &[u8]) -> u8 {
    message.get(3).map_or(0, |flags| flags & 0x0f)
}

/// Writes the answer to a packet whose question could not be read.
pub fn reject(packet: &[u8], rcode: Rcode, out: &mut Vec<u8>) {
    let Some(header) = packet.first_chunk::<HEADER>() else { return };
    // Response, the opcode and "recursion desired" as asked; recursion is available.
    out.extend_from_slice(&[header[0], header[1], 0x80 | header[2] & 0x79, 0x80 | rcode as u8]);
    out.extend_from_slice(&[0; 8]);
}

/// An answer under construction. Records that do not fit are left out and the answer is marked as truncated.
pub struct Answer<'o> {
    out: &'o mut Vec<u8>,
    limit: usize,
    edns: Option<Edns>,
    records: u16,
    authority: u16,
}

impl<'o> Answer<'o> {
    /// Starts an answer of at most `limit` octets in the empty buffer `out`.
    pub fn new(query: &Query<'_>, limit: usize, out: &'o mut Vec<u8>) -> Self {
        let flags = [query.packet[2], query.packet[3]];
        out.extend_from_slice(&query.packet[..2]);
        // "Recursion desired" and "checking disabled" as asked; recursion is available.
        out.extend_from_slice(&[0x80 | flags[0] & 0x01, 0x80 | flags[1] & 0x10, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(query.question);
        let reserved = if query.edns.is_some() { OPT_LENGTH } else { 0 };
        Self { out, limit: limit.saturating_sub(reserved), edns: query.edns, records: 0, authority: 0 }
    }

    /// Adds a record that belongs to the name in question.
    pub fn record(&mut self, kind: u16, ttl_s: u32, data: &[u8]) {
        // A pointer to the question's name.
        self.records += u16::from(self.put(&[0xc0, HEADER as u8], kind, ttl_s, data));
    }

    /// Adds a record that belongs to another name, in wire form.
    pub fn record_of(&mut self, owner: &[u8], kind: u16, ttl_s: u32, data: &[u8]) {
        self.records += u16::from(self.put(owner, kind, ttl_s, data));
    }

    /// Says whose word it is that there is nothing, and for how long that holds (RFC 2308), once all records are there.
    pub fn authority(&mut self, owner: &[u8], ttl_s: u32, data: &[u8]) {
        self.authority += u16::from(self.put(owner, kind::SOA, ttl_s, data));
    }

    /// Whether there was room.
    fn put(&mut self, owner: &[u8], kind: u16, ttl_s: u32, data: &[u8]) -> bool {
        // Type, class IN, lifetime, length of the data.
        const FIXED: usize = 2 + 2 + 4 + 2;
        let Ok(length) = u16::try_from(data.len()) else { return false };
        if self.out.len() + owner.len() + FIXED + data.len() > self.limit {
            self.out[2] |= 0x02;
            return false;
        }
        self.out.extend_from_slice(owner);
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&[0, 1]);
        self.out.extend_from_slice(&ttl_s.to_be_bytes());
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(data);
        true
    }

    /// Sets the counts and the code, and answers EDNS with EDNS.
    pub fn finish(self, rcode: Rcode) {
        let code = rcode as u16;
        self.out[3] |= (code & 0x0f) as u8;
        self.out[6..8].copy_from_slice(&self.records.to_be_bytes());
        self.out[8..10].copy_from_slice(&self.authority.to_be_bytes());
        let Some(edns) = self.edns else { return };
        self.out[11] = 1;
        let dnssec = if edns.dnssec_ok { 0x80 } else { 0 };
        let [high, low] = (MAX_UDP as u16).to_be_bytes();
        self.out.extend_from_slice(&[0, 0, kind::OPT as u8, high, low, (code >> 4) as u8, 0, dnssec, 0, 0, 0]);
    }
}

const OPT_LENGTH: usize = 11;

/// A query that asks recursively, and nothing more. None if the name does not fit.
pub fn ask(name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(encode_name(name)?);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    Some(packet)
}

/// Kind and data of the records in the answer of a message, as far as it can be read.
pub fn answered(message: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let count = |at: usize| message.get(at..at + 2).map_or(0, |n| u16::from_be_bytes([n[0], n[1]]));
    let mut cursor = Cursor { packet: message, at: HEADER };
    let questions = (0..count(4)).all(|_| cursor.skip_name().and_then(|()| cursor.take(4).map(|_| ())).is_some());
    let mut left = if questions { count(6) } else { 0 };
    std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        cursor.skip_name()?;
        let kind = cursor.u16()?;
        cursor.take(6)?;
        let length = usize::from(cursor.u16()?);
        let data = message.get(cursor.at..cursor.at + length)?;
        cursor.at += length;
        Some((kind, data))
    })
}

/// A name in wire form; none if a label has not 1 to 63 octets or the whole more than 255.
pub fn encode_name(name: &str) -> Option<Vec<u8>> {
    let mut encoded = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
        encoded.push(length);
        encoded.extend_from_slice(label.as_bytes());
    }
    encoded.push(0);
    (encoded.len() <= 255).then_some(encoded)
}

struct Cursor<'a> {
    packet: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let slice = self.packet.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(slice)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|slice| slice[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|slice| u16::from_be_bytes([slice[0], slice[1]]))
    }

    /// A name without compression, for there is nothing before it to point to. Outer none: malformed; inner none: a label has a
    /// dot in it, so its text would be another name.
    fn question_name(&mut self) -> Option<Option<LowerName>> {
        let mut name = LowerName { text: [0; 255], length: 0 };
        let mut plain = true;
        let mut end = 0;
        loop {
            let length = usize::from(self.u8()?);
            if length == 0 {
                break;
            }
            // The wire form is two octets longer than the text, and at most 255.
            let start = if end == 0 { 0 } else { end + 1 };
            if length > 63 || start + length > 253 {
                return None;
            }
            let label = self.take(length)?;
            plain &= !label.contains(&b'.');
            if end != 0 {
                name.text[end] = b'.';
            }
            end = start + length;
            name.text[start..end].copy_from_slice(label);
        }
        name.text[..end].make_ascii_lowercase();
        name.length = end as u8;
        Some(plain.then_some(name))
    }

    /// Steps over a name, which may point to another.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            match self.u8()? {
                0 => return Some(()),
                0xc0.. => return self.u8().map(drop),
                length @ 1..64 => {
                    self.take(usize::from(length))?;
                }
                _ => return None,
            }
        }
    }

    /// Steps over one record. None: malformed; some none: anything but EDNS.
    fn record(&mut self) -> Option<Option<Edns>> {
        self.skip_name()?;
        let kind = self.u16()?;
        let payload = self.u16()?;
        let [_, version, flags, _] = *self.take(4)?.first_chunk()?;
        let length = self.u16()?;
        self.take(usize::from(length))?;
        Some((kind == kind::OPT).then_some(Edns { payload, version, dnssec_ok: flags & 0x80 != 0 }))
    }
}
