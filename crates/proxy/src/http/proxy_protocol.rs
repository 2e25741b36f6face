//! The PROXY protocol, versions 1 and 2: how a load balancer tells the client's address below HTTP.
//! Source: "The PROXY protocol", HAProxy Technologies, 2020/03/05.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// Which form is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// Who talks to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// What the first octets of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// Not all of a header yet.
    More,
    /// All of one; what follows is the client's.
    Header {
        /// `None`: the balancer speaks for itself (a health check), or of something that is not TCP over IP.
        addresses: Option<Addresses>,
        /// Octets of the header.
        length: usize,
    },
}

/// Not a PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the connection does not begin with a valid PROXY header: {0}")]
pub struct Malformed(&'static str);

/// The longest line of version 1, and the most that version 2 can tell.
pub const MAX_V1: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_V2: usize = 16;

/// The longest header of version 2 that is taken: addresses and some kilobytes of extensions.
pub const MAX_V2: usize = 4096;

/// Reads the header at the beginning of what has come.
///
/// # Errors
/// As soon as it can be none, whatever follows.
pub fn parse(octets: &[u8]) -> Result<Parsed, Malformed> {
    let begins = |with: &[u8]| {
        let length = with.len().min(octets.len());
        octets[..length] == with[..length]
    };
    if begins(SIGNATURE) {
        parse_v2(octets)
    } else if begins(b"PROXY ") {
        parse_v1(octets)
    } else {
        Err(Malformed("neither form begins so"))
    }
}

fn parse_v1(octets: &[u8]) -> Result<Parsed, Malformed> {
    let line = &octets[..octets.len().min(MAX_V1)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        return if octets.len() < MAX_V1 { Ok(Parsed::More) } else { Err(Malformed("its line does not end")) };
    };
    let text = std::str::from_utf8(&line[..end]).map_err(|_| Malformed("its line is not text"))?;
    let words: Vec<_> = text.split(' ').collect();
    let addresses = match words[..] {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family, source, destination, from, to] => {
            let both = (address(family, source, from), address(family, destination, to));
            let (Some(source), Some(destination)) = both else { return Err(Malformed("its addresses are none")) };
            Some(Addresses { source, destination })
        }
        _ => return Err(Malformed("its line has other words")),
    };
    Ok(Parsed::Header { addresses, length: end + 2 })
}

fn address(family: &str, ip: &str, port: &str) -> Option<SocketAddr> {
    let ip = match family {
        "TCP4" => IpAddr::V4(ip.parse().ok()?),
        "TCP6" => IpAddr::V6(ip.parse().ok()?),
        _ => return None,
    };
    let canonical = port.bytes().all(|b| b.is_ascii_digit()) && (port == "0" || !port.starts_with('0'));
    Some(SocketAddr::new(ip, port.parse().ok().filter(|_| canonical)?))
}

fn parse_v2(octets: &[u8]) -> Result<Parsed, Malformed> {
    let Some(fixed) = octets.get(..FIXED_V2) else { return Ok(Parsed::More) };
    let length = FIXED_V2 + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if fixed[12] >> 4 != 2 {
        return Err(Malformed("its version is not 2"));
    }
    if length > MAX_V2 {
        return Err(Malformed("it is too long"));
    }
    let Some(rest) = octets.get(FIXED_V2..length) else { return Ok(Parsed::More) };
    let addresses = match (fixed[12] & 0xf, fixed[13]) {
        (0, _) => None,
        (1, 0x11) => Some(read_v4(rest)?),
        (1, 0x21) => Some(read_v6(rest)?),
        (1, _) => None,
        _ => return Err(Malformed("its command is unknown")),
    };
    Ok(Parsed::Header { addresses, length })
}

const SHORT: Malformed = Malformed("it is too short for its addresses");

fn read_v4(octets: &[u8]) -> Result<Addresses, Malformed> {
    let octets = octets.first_chunk::<12>().ok_or(SHORT)?;
    let ip = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    let port = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
    Ok(Addresses { source: (ip(0), port(8)).into(), destination: (ip(4), port(10)).into() })
}

fn read_v6(octets: &[u8]) -> Result<Addresses, Malformed> {
    let octets = octets.first_chunk::<36>().ok_or(SHORT)?;
    let ip = |at: usize| octets[at..].first_chunk::<16>().map(|ip| Ipv6Addr::from(*ip)).ok_or(SHORT);
    let port = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
    Ok(Addresses { source: (ip(0)?, port(32)).into(), destination: (ip(16)?, port(34)).into() })
}

/// Writes a header. Addresses of different families are both told as IPv6.
pub fn write(version: Version, addresses: &Addresses) -> Vec<u8> {
    let Addresses { source, destination } = addresses;
    let (from, to) = (source.ip().to_canonical(), destination.ip().to_canonical());
    let (from, to) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => (from, to),
        _ => (mapped(from), mapped(to)),
    };
    match version {
        Version::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
        }
        Version::V2 => {
            let mut header = SIGNATURE.to_vec();
            header.push(0x21);
            let (family, length): (u8, u16) = if from.is_ipv4() { (0x11, 12) } else { (0x21, 36) };
            header.push(family);
            header.extend(length.to_be_bytes());
            for ip in [from, to] {
                match ip {
                    IpAddr::V4(ip) => header.extend(ip.octets()),
                    IpAddr::V6(ip) => header.extend(ip.octets()),
                }
            }
            header.extend(source.port().to_be_bytes());
            header.extend(destination.port().to_be_bytes());
            header
        }
    }
}

fn mapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    }
}

/// For the fuzzer: what is read is what is written, and octets that are missing never change what is known.
#[cfg(any(test, fuzzing))]
pub fn fuzz(data: &[u8]) {
    let Ok(Parsed::Header { addresses, length }) = parse(data) else { return };
    assert!(length <= data.len());
    for cut in 0..length {
        assert_eq!(parse(&data[..cut]), Ok(Parsed::More), "cut at {cut}");
    }
    assert_eq!(parse(&data[..length]), parse(data));
    for version in [Version::V1, Version::V2] {
        if let Some(addresses) = addresses {
            let written = write(version, &addresses);
            let Ok(Parsed::Header { addresses: Some(again), length }) = parse(&written) else { panic!("{written:?}") };
            assert_eq!(
                (again.source.ip().to_canonical(), again.source.port()),
                (addresses.source.ip().to_canonical(), addresses.source.port())
            );
            assert_eq!(length, written.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: &str, destination: &str, length: usize) -> Result<Parsed, Malformed> {
        let parse = |text: &str| text.parse().expect("an address");
        Ok(Parsed::Header {
            addresses: Some(Addresses { source: parse(source), destination: parse(destination) }),
            length,
        })
    }

    #[test]
    fn version_1() {
        let none = |length| Ok(Parsed::Header { addresses: None, length });
        for (text, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r\nGET /", header("192.0.2.1:5", "192.0.2.2:80", 37)),
            ("PROXY TCP6 2001:db8::1 ::1 65535 443\r\n", header("[2001:db8::1]:65535", "[::1]:443", 38)),
            ("PROXY UNKNOWN\r\n", none(15)),
            ("PROXY UNKNOWN what ever\r\n", none(25)),
            ("", Ok(Parsed::More)),
            ("PRO", Ok(Parsed::More)),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 5 80\r", Ok(Parsed::More)),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
            fuzz(text.as_bytes());
        }
        for text in [
            "GET / HTTP/1.1\r\n",
            "PROXY\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 5 80 90\r\n",
            "PROXY TCP4 ::1 ::1 5 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 05 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +5 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 80\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 5 80\r\n",
            &("PROXY UNKNOWN ".to_owned() + &"x".repeat(200)),
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn version_2() {
        for (source, destination) in
            [("192.0.2.1:5", "192.0.2.2:80"), ("[2001:db8::1]:5", "[::1]:443"), ("192.0.2.1:5", "[::1]:443")]
        {
            let parse_address = |text: &str| text.parse::<SocketAddr>().expect("an address");
            let addresses = Addresses { source: parse_address(source), destination: parse_address(destination) };
            let mut written = write(Version::V2, &addresses);
            written.extend(b"GET /");
            fuzz(&written);
        }
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 3, 1, 2, 3]].concat();
        assert_eq!(parse(&local), Ok(Parsed::Header { addresses: None, length: 19 }));
        for (octets, why) in [
            (&[0x31, 0x11, 0, 12][..], "version 3"),
            (&[0x22, 0x11, 0, 0], "an unknown command"),
            (&[0x21, 0x11, 0xff, 0xff], "too long"),
            (&[0x21, 0x11, 0, 4, 1, 2, 3, 4], "too short"),
        ] {
            assert!(parse(&[&SIGNATURE[..], octets].concat()).is_err(), "{why}");
        }
    }

    #[test]
    fn corpus() {
        crate::replay::replay("proxy_headers", fuzz);
    }
}
