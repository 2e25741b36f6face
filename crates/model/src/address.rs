//! Addresses: Ethernet addresses, and the pools that networks and endpoints take theirs from.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid MAC address {0:?}: write six hexadecimal bytes as in 02:42:ac:11:00:02")]
pub struct MacError(pub String);

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let error = || MacError(text.to_owned());
        let bytes: Vec<u8> = text
            .split([':', '-'])
            .map(|part| (part.len() == 2).then(|| u8::from_str_radix(part, 16).ok()).flatten().ok_or_else(error))
            .collect::<Result<_, _>>()?;
        bytes.try_into().map(Self).map_err(|_| error())
    }
}

impl TryFrom<String> for Mac {
    type Error = MacError;

    fn try_from(text: String) -> Result<Self, MacError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The families of network addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// 4 or 6.
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }

    /// `0.0.0.0` or `::`, which stand for every address of the family.
    pub fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::V6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// A network's addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The whole network, host bits zero.
    pub net: IpNet,
    /// The part that endpoints without a wish of their own get addresses from; none means all of it.
    pub range: Option<IpNet>,
    /// The address of the bridge; none when it has none.
    pub gateway: Option<IpAddr>,
    /// Addresses that are used by things that are not containers, by name.
    pub reserved: BTreeMap<String, IpAddr>,
    /// The containers' next hop, where it is not the bridge.
    pub next_hop: Option<IpAddr>,
    /// Who chose it.
    pub chosen: Chosen,
}

impl Subnet {
    /// Where containers send what is for the outside.
    pub fn next_hop(&self) -> Option<IpAddr> {
        self.next_hop.or(self.gateway)
    }

    /// The addresses that no container gets.
    pub fn taken(&self) -> impl Iterator<Item = IpAddr> {
        self.gateway.iter().chain(self.reserved.values()).chain(&self.next_hop).copied()
    }
}

/// Who made a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chosen {
    /// The user said so.
    ByUser,
    /// It was taken from the pools.
    FromPool,
}

/// A range of addresses that is cut into subnets for networks that do not say theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The range.
    pub base: IpNet,
    /// The prefix length of each subnet.
    pub size: u8,
}
