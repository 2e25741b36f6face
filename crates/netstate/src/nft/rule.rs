//! Rules as values. Each can be written in nft's language, so `nft list ruleset` always reads back.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::Value;

/// A rule: all matches hold, then the action is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What it is for, in a few words; it is the start of the rule's comment in the kernel and what `trace` says.
    pub name: String,
    /// All must hold.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
}

/// A condition on a packet.
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
    /// `fib daddr type local`: the destination is an address of this host.
    FibDaddrLocal,
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
