//! Links: bridges and veth pairs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::netns::NetnsName;

/// An interface name: 1 to 15 bytes, no slash, no white space, not `.` or `..` (`dev_valid_name` in the kernel).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// Why a text is not an interface name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not an interface name: use 1 to 15 bytes without '/', ':' or white space")]
pub struct IfNameError(pub String);

impl IfName {
    /// Sorts before every name; a bound for ranges, not a name.
    pub(crate) const LOWEST: Self = Self(String::new());

    /// The name as the kernel prints it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for IfName {
    type Error = IfNameError;

    fn try_from(name: String) -> Result<Self, IfNameError> {
        let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0';
        if fits && !name.contains(bad) { Ok(Self(name)) } else { Err(IfNameError(name)) }
    }
}

impl FromStr for IfName {
    type Err = IfNameError;

    fn from_str(name: &str) -> Result<Self, IfNameError> {
        name.to_owned().try_into()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> String {
        name.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which link: its namespace and its name there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkKey {
    /// Where the link is.
    pub netns: NetnsName,
    /// Its name there.
    pub name: IfName,
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.netns, self.name)
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid MAC address {0:?}: write six hexadecimal bytes as in 02:42:ac:11:00:02")]
pub struct MacAddrError(pub String);

impl FromStr for MacAddr {
    type Err = MacAddrError;

    fn from_str(text: &str) -> Result<Self, MacAddrError> {
        let error = || MacAddrError(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() { Err(error()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = MacAddrError;

    fn try_from(text: String) -> Result<Self, MacAddrError> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A link as it is wished or seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it is, and what only that kind has.
    pub kind: LinkKind,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Largest packet in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub admin: Admin,
    /// The bridge it is a port of, and how.
    pub port: Option<BridgePort>,
    /// The mark of ownership, `linkspan:<kind>/<id>` (`ip link show` prints it as `alias`). Links inside our own namespaces have none.
    pub alias: Option<String>,
}

/// The kinds of link that linkspan makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkKind {
    /// A bridge without spanning tree.
    Bridge,
    /// The first end of a pair; creating it creates the peer inside the peer's namespace, deleting it deletes both.
    Veth {
        /// The other end.
        peer: LinkKey,
        /// The other end's Ethernet address, given at creation.
        peer_mac: MacAddr,
    },
    /// The second end of a pair. It comes and goes with the first; creating it means setting its MTU and bringing it up.
    VethPeer {
        /// The first end.
        of: LinkKey,
    },
}

/// Administrative state (IFF_UP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admin {
    /// `ip link set up`
    Up,
    /// `ip link set down`
    Down,
}

/// A link's place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgePort {
    /// The bridge, in the same namespace.
    pub bridge: IfName,
    /// Whether a frame may leave by the port it came in by.
    pub hairpin: Hairpin,
}

/// Whether a frame may leave by the port it came in by (bridge(8), `hairpin`). A host whose `br_netfilter` translates bridged frames
/// needs it for a container that asks its own published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hairpin {
    /// It may.
    On,
    /// It may not.
    Off,
}
