//! The values that rules and set elements are made of (nft(8), DATA TYPES).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

/// The types a value can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Datatype {
    /// `ipv4_addr`, 4 bytes.
    Ipv4Addr,
    /// `ipv6_addr`, 16 bytes.
    Ipv6Addr,
    /// `inet_proto`, 1 byte: 6 TCP, 17 UDP, 132 SCTP.
    InetProto,
    /// `inet_service`, 2 bytes: a port.
    InetService,
    /// `ifname`, 16 bytes padded with zeros.
    IfName,
    /// `mark`, 4 bytes in the host's order.
    Mark,
    /// `ether_type`, 2 bytes.
    EtherType,
}

/// A value of one of the types. Values of one type are in numeric or byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Value {
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A transport protocol number.
    Proto(u8),
    /// A port.
    Port(u16),
    /// An interface name.
    IfName(String),
    /// A packet mark.
    Mark(u32),
    /// An Ethernet type (0x0800 IPv4, 0x0806 ARP, 0x86dd IPv6).
    EtherType(u16),
}

impl Value {
    /// Its type.
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Ipv4(_) => Datatype::Ipv4Addr,
            Self::Ipv6(_) => Datatype::Ipv6Addr,
            Self::Proto(_) => Datatype::InetProto,
            Self::Port(_) => Datatype::InetService,
            Self::IfName(_) => Datatype::IfName,
            Self::Mark(_) => Datatype::Mark,
            Self::EtherType(_) => Datatype::EtherType,
        }
    }

    /// The address that it is.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(address) => Some((*address).into()),
            Self::Ipv6(address) => Some((*address).into()),
            _ => None,
        }
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address),
            IpAddr::V6(address) => Self::Ipv6(address),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipv4(a) => a.fmt(f),
            Self::Ipv6(a) => a.fmt(f),
            Self::Proto(1) => f.write_str("icmp"),
            Self::Proto(6) => f.write_str("tcp"),
            Self::Proto(17) => f.write_str("udp"),
            Self::Proto(58) => f.write_str("ipv6-icmp"),
            Self::Proto(132) => f.write_str("sctp"),
            Self::Proto(n) => n.fmt(f),
            Self::Port(n) => n.fmt(f),
            Self::IfName(n) => write!(f, "\"{n}\""),
            Self::Mark(n) => write!(f, "{n:#010x}"),
            Self::EtherType(0x0800) => f.write_str("ip"),
            Self::EtherType(0x0806) => f.write_str("arp"),
            Self::EtherType(0x86dd) => f.write_str("ip6"),
            Self::EtherType(n) => write!(f, "{n:#06x}"),
        }
    }
}
