//! Rules as values. Each can be written in nft's language, so `nft list ruleset` always reads back.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::{Datatype, Value};

/// A rule: all matches hold, then the action is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is for, in a few words; it is the start of the rule's comment in the kernel and what `trace` says. Of a rule read back
    /// from a kernel it is the whole comment, see [`Rule::from_comment`].
    pub name: String,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

/// The longest comment nft accepts, in bytes (`NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT_MAX_BYTES: usize = 128;

impl Rule {
    /// A short number that stands for what the rule does: two rules of one digest are the same rule. It is the same on every machine and in
    /// every build that spells the rule alike. FNV-1a over the rule as nft writes it, folded to 32 bits.
    pub fn digest(&self) -> u32 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in super::text::expressions(self).join("\n").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        (hash >> 32) as u32 ^ hash as u32
    }

    /// The rule's comment in the kernel: `NAME #DIGEST`. This is how a rule read back is recognised.
    pub fn comment(&self) -> String {
        let digest = format!(" #{:08x}", self.digest());
        let mut name: String = self.name.chars().map(|c| if c == '"' || c.is_control() { '\'' } else { c }).collect();
        while name.len() + digest.len() > COMMENT_MAX_BYTES {
            name.pop();
        }
        name + &digest
    }

    /// A rule of which only the comment is known, as one reads it back from a kernel. It is the [same](Self::same) as the rule that has
    /// this comment; what it matches and does is not known, so it must not be sent or evaluated.
    pub fn from_comment(comment: impl Into<String>) -> Self {
        Self { name: comment.into(), matches: Vec::new(), action: Action::Return }
    }

    /// Whether only its comment is known.
    pub fn is_read_back(&self) -> bool {
        self.matches.is_empty() && self.action == Action::Return && self.name.contains(" #")
    }

    /// Whether the other, perhaps read back from a kernel, is this rule.
    pub fn same(&self, other: &Self) -> bool {
        self == other || self.comment() == other.name
    }

    /// The sets and maps it names.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        let looked_up = self.matches.iter().filter_map(|m| match m {
            Match::In { set: name, .. }
            | Match::SetMark(Marking::Found { map: name, .. })
            | Match::Remember { map: name, .. }
            | Match::Forget { map: name, .. } => Some(name.as_str()),
            _ => None,
        });
        let mapped = match &self.action {
            Action::Dnat(NatTarget::Map { map, .. })
            | Action::Snat(NatTarget::Map { map, .. })
            | Action::VerdictOfMark { map } => Some(map.as_str()),
            _ => None,
        };
        looked_up.chain(mapped)
    }

    /// The chain it calls.
    pub fn jump(&self) -> Option<&str> {
        match &self.action {
            Action::Jump(chain) => Some(chain),
            _ => None,
        }
    }
}

/// A condition on a packet. Some do something too, in their turn; those after one that does not hold are not come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// `FIELD [!=] VALUE`
    Is {
        /// What is looked at.
        field: Field,
        /// Equal or not.
        op: Op,
        /// What it is compared with.
        value: Value,
    },
    /// `ip saddr [!=] 127.0.0.0/8`
    Within {
        /// An address field.
        field: Field,
        /// Inside or not.
        op: Op,
        /// The network.
        net: IpNet,
    },
    /// `FIELD . FIELD [!=] @SET`
    In {
        /// The concatenated fields.
        fields: Vec<Field>,
        /// Member or not.
        op: Op,
        /// The set's name in the rule's table.
        set: String,
    },
    /// `ct state { .. }`: any of these.
    CtState(Vec<CtState>),
    /// `ct status dnat` and the like.
    CtStatus(CtStatus),
    /// `meta mark & MASK == VALUE`
    Marked {
        /// The bits as they must be.
        value: u32,
        /// The bits that count.
        mask: u32,
    },
    /// `fib daddr type local`: the destination is an address of this host.
    FibDaddrLocal,
    /// `meta mark set ...`: holds when there is a mark to set.
    SetMark(Marking),
    /// `update @MAP { KEY timeout 3h : meta mark }`: always holds. The map is filled by packets; one that has the key keeps its data, and
    /// its time begins again.
    Remember {
        /// The map's key.
        key: MapKey,
        /// The map's name in the rule's table; its data is a mark.
        map: String,
        /// How long it is remembered, seconds.
        timeout_s: u32,
    },
    /// `delete @MAP { KEY : meta mark }`: always holds.
    Forget {
        /// The map's key.
        key: MapKey,
        /// The map's name in the rule's table; its data is a mark.
        map: String,
    },
}

/// What a packet's mark is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Marking {
    /// `FIELDS map @MAP`; there is none when the map does not have the key.
    Found {
        /// The concatenated fields of the map's key.
        fields: Vec<Field>,
        /// The map's name in the rule's table; its data is a mark.
        map: String,
    },
    /// `numgen random mod MODULUS offset OFFSET`
    Random {
        /// How many there are to choose from, 1 or more.
        modulus: u32,
        /// The first of them.
        offset: u32,
    },
    /// The same for packets that are alike in the fields.
    Hash(Hash),
}

/// What a map that packets fill is looked up by when they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MapKey {
    /// Concatenated fields. Of more than 16 bytes nft 1.0.6 cannot load a rule that fills a map by them.
    Fields(Vec<Field>),
    /// Their hash, in a map whose key is a mark.
    Hash(Hash),
}

impl MapKey {
    /// The fields that it is made of.
    pub fn fields(&self) -> &[Field] {
        match self {
            Self::Fields(fields) | Self::Hash(Hash { fields, .. }) => fields,
        }
    }
}

/// `jhash FIELD . FIELD mod MODULUS seed SEED offset OFFSET`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hash {
    /// What is hashed.
    pub fields: Vec<Field>,
    /// How many numbers it may come to, 1 or more.
    pub modulus: u32,
    /// Where the hash begins.
    pub seed: u32,
    /// The first of the numbers.
    pub offset: u32,
}

/// Equal, member, inside; or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Holds when it is.
    Eq,
    /// Holds when it is not.
    Ne,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Field {
    /// `meta iifname`
    IifName,
    /// `meta oifname`
    OifName,
    /// `meta ibrname`: the bridge a frame came in by (bridge family).
    IbrName,
    /// `ip saddr`
    Ip4Saddr,
    /// `ip daddr`
    Ip4Daddr,
    /// `ip6 saddr`
    Ip6Saddr,
    /// `ip6 daddr`
    Ip6Daddr,
    /// `meta l4proto`
    L4Proto,
    /// `th sport`
    Sport,
    /// `th dport`
    Dport,
    /// `meta mark`
    Mark,
    /// `ether type` (bridge family)
    EtherType,
}

impl Field {
    /// The type of its value.
    pub fn datatype(self) -> Datatype {
        match self {
            Self::IifName | Self::OifName | Self::IbrName => Datatype::IfName,
            Self::Ip4Saddr | Self::Ip4Daddr => Datatype::Ipv4Addr,
            Self::Ip6Saddr | Self::Ip6Daddr => Datatype::Ipv6Addr,
            Self::L4Proto => Datatype::InetProto,
            Self::Sport | Self::Dport => Datatype::InetService,
            Self::Mark => Datatype::Mark,
            Self::EtherType => Datatype::EtherType,
        }
    }
}

/// Connection tracking states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CtState {
    /// Not part of a connection.
    Invalid,
    /// Seen in both directions.
    Established,
    /// Belongs to another connection.
    Related,
    /// The first packets.
    New,
}

/// Connection tracking status bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CtStatus {
    /// The destination was translated.
    Dnat,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Stop in this base chain; other chains of the hook go on.
    Accept,
    /// Drop the packet for good.
    Drop,
    /// Refuse it: TCP reset, or the ICMP error for everything else.
    Reject(IcmpReject),
    /// Go on in the calling chain.
    Return,
    /// Call another chain of the table.
    Jump(String),
    /// `meta mark vmap @MAP`: what the map says of the packet's mark; without the key it goes on with the next rule.
    VerdictOfMark {
        /// The map's name in the rule's table.
        map: String,
    },
    /// Destination address translation; a map without the key falls through to the next rule.
    Dnat(NatTarget),
    /// Source address translation.
    Snat(NatTarget),
    /// Source address translation to the outgoing link's address.
    Masquerade,
    /// Destination translation to this host.
    Redirect {
        /// The local port.
        port: u16,
    },
}

/// Which ICMP error refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IcmpReject {
    /// `reject with icmpx admin-prohibited`
    AdminProhibited,
    /// `reject with icmpx port-unreachable`
    PortUnreachable,
}

/// Which addresses a translation is about; in an `inet` table it also matches only those packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NatFamily {
    /// `dnat ip to`
    Ip,
    /// `dnat ip6 to`
    Ip6,
}

/// What a translation translates to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NatTarget {
    /// One address, and a port if it changes.
    To {
        /// The new address.
        address: IpAddr,
        /// The new port; none keeps it.
        port: Option<u16>,
    },
    /// `dnat ip to FIELD . FIELD map @MAP`: the map's data is an address, or an address and a port.
    Map {
        /// The family.
        family: NatFamily,
        /// The concatenated fields of the map's key.
        fields: Vec<Field>,
        /// The map's name in the rule's table.
        map: String,
        /// Whether the map's data has a port after the address.
        with_port: bool,
    },
}
