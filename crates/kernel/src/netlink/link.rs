//! What rtnetlink tells of links (`struct ifinfomsg`). It tells much, often and of every link of the host, so that only what interests us
//! is read, where it lies.

use super::{Attributes, attr::text, attributes};
use crate::mark;

const HEADER_LEN: usize = 16;
// IFLA_*
const ADDRESS: u16 = 1;
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const LINK: u16 = 5;
const MASTER: u16 = 10;
const LINKINFO: u16 = 18;
const IFALIAS: u16 = 20;
const GROUP: u16 = 27;
const LINK_NETNSID: u16 = 37;
// IFLA_INFO_*
const KIND: u16 = 1;
const SLAVE_KIND: u16 = 4;
const SLAVE_DATA: u16 = 5;
/// IFLA_BRPORT_MODE
const HAIRPIN: u16 = 4;

/// What interests us of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinkFacts {
    pub index: u32,
    pub name: String,
    pub kind: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub mtu: u32,
    pub up: bool,
    pub master: Option<u32>,
    /// As a port of a bridge.
    pub hairpin: bool,
    pub alias: Option<String>,
    pub group: u32,
    /// The other end's index, in the namespace of `peer_namespace`.
    pub peer: Option<u32>,
    pub peer_namespace: Option<i32>,
}

impl LinkFacts {
    /// Whether it carries our mark.
    pub fn is_ours(&self) -> bool {
        let marked = self.alias.as_deref().is_some_and(|a| a.starts_with(mark::ALIAS_PREFIX));
        marked || [mark::LINK_GROUP, mark::DOOMED_GROUP].contains(&self.group)
    }
}

/// Reads a message of the kernel. A bridge tells of its ports once more in words of its own, which are left out.
pub(crate) fn facts(body: &[u8]) -> Option<LinkFacts> {
    let up = u32::from_ne_bytes(body.get(8..12)?.try_into().ok()?) & libc::IFF_UP as u32 != 0;
    let mut facts = LinkFacts { index: index(body)?, up, ..LinkFacts::default() };
    for (kind, value) in attributes(body.get(HEADER_LEN..)?) {
        match kind {
            ADDRESS => facts.mac = value.try_into().ok(),
            IFNAME => facts.name = text(value),
            MTU => facts.mtu = number(value)?,
            LINK => facts.peer = number(value),
            MASTER => facts.master = number(value).filter(|index| *index != 0),
            IFALIAS => facts.alias = Some(text(value)),
            GROUP => facts.group = number(value)?,
            LINK_NETNSID => facts.peer_namespace = number(value).map(u32::cast_signed),
            LINKINFO => {
                let info = attributes(value);
                facts.kind = info.get(KIND).map(text);
                facts.hairpin = info.get(SLAVE_KIND).map(text).as_deref() == Some("bridge") && hairpin(info);
            }
            _ => {}
        }
    }
    Some(facts)
}

/// The link's index alone.
pub(crate) fn index(body: &[u8]) -> Option<u32> {
    (i32::from(*body.first()?) == libc::AF_UNSPEC).then(|| number(body.get(4..8)?))?
}

fn hairpin(info: Attributes<'_>) -> bool {
    info.within(SLAVE_DATA).get(HAIRPIN).is_some_and(|value| value.first() == Some(&1))
}

fn number(value: &[u8]) -> Option<u32> {
    value.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_messages_say_nothing() {
        let mut cut = vec![0; HEADER_LEN];
        cut.extend_from_slice(&[6, 0, 4, 0, 1, 0]);
        for bad in [vec![], vec![0; 15], vec![7; 32], cut] {
            assert_eq!(facts(&bad), None, "{bad:?}");
        }
    }
}
