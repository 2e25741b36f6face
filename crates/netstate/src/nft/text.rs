//! nftables objects in nft's own language, as `nft -f` reads them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{
    chain::{Base, Chain, ChainType, Hook, Policy},
    eval::Verdict,
    rule::{
        Action, CtState, CtStatus, Field, Hash, IcmpReject, MapKey, Marking, Match, NatFamily, NatTarget, Op, Rule,
    },
    set::{Element, ElementData, ElementKey, Filled, MapVerdict, Set, SetData},
    table::TableKey,
    value::{Datatype, Value},
};
use crate::{NetState, netns::NetnsName};

const TCP: u8 = 6;

/// All tables of a namespace as a script.
pub fn script(state: &NetState, netns: &NetnsName) -> String {
    state.tables(netns).map(|key| table(state, key)).collect()
}

/// One table with its sets, maps and chains.
pub fn table(state: &NetState, key: &TableKey) -> String {
    let mut blocks = Vec::new();
    for (key, object) in state.sets(key) {
        let elements: Vec<_> = state.elements(key).map(|(key, object)| element(key, object)).collect();
        blocks.push(set(&key.name, object, &elements));
    }
    for (key, object) in state.chains(key) {
        blocks.push(chain(&key.name, object));
    }
    let body: Vec<_> = blocks.iter().map(|block| indent(block)).collect();
    format!("table {} {} {{\n{}}}\n", key.family, key.name(), body.join("\n"))
}

/// A set or map, with elements already written.
pub fn set(name: &str, set: &Set, elements: &[String]) -> String {
    let key = types(&set.key);
    let (noun, types) = match &set.data {
        SetData::None => ("set", key),
        SetData::Values(data) => ("map", format!("{key} : {}", types(data))),
        SetData::Verdict => ("map", format!("{key} : verdict")),
    };
    let flags = match (set.interval, set.filled) {
        (true, _) => "    flags interval\n",
        (false, Filled::ByPackets) => "    flags dynamic,timeout\n",
        (false, Filled::ByUs) => "",
    };
    let elements = match elements {
        [] => String::new(),
        _ => format!("    elements = {{\n        {}\n    }}\n", elements.join(",\n        ")),
    };
    format!("{noun} {name} {{\n    type {types}\n{flags}{elements}}}\n")
}

/// An element: `10.0.0.1 . tcp . 80 : 172.17.0.2 . 8080`.
pub fn element(key: &ElementKey, element: &Element) -> String {
    let key = &key.key;
    match &element.data {
        ElementData::None => key.to_string(),
        ElementData::Values(values) => format!("{key} : {values}"),
        ElementData::Verdict(MapVerdict::Drop) => format!("{key} : drop"),
        ElementData::Verdict(MapVerdict::Jump(chain)) => format!("{key} : jump {chain}"),
    }
}

/// A chain with its rules.
pub fn chain(name: &str, chain: &Chain) -> String {
    let base = chain.base.as_ref().map(|base| format!("    {}\n", self::base(base))).unwrap_or_default();
    let rules: String = chain.rules.iter().flat_map(rule).map(|line| format!("    {line}\n")).collect();
    format!("chain {name} {{\n{base}{rules}}}\n")
}

/// How a chain is hooked.
pub fn base(base: &Base) -> String {
    format!("type {} hook {} priority {}; policy {};", base.kind, base.hook, base.priority, base.policy)
}

/// A rule with its comment, one line for each rule that it is in the kernel. Of one read back there is only the comment.
pub fn rule(rule: &Rule) -> Vec<String> {
    if rule.is_read_back() {
        return vec![format!("# {}", rule.name)];
    }
    let comment = rule.comment();
    expressions(rule).into_iter().map(|expression| format!("{expression} comment \"{comment}\"")).collect()
}

/// What a rule matches and does, without its comment. Refusing whatever protocol takes two rules: TCP gets a reset.
pub fn expressions(rule: &Rule) -> Vec<String> {
    let matches: Vec<String> = rule.matches.iter().map(condition).collect();
    let then = |last: String| matches.iter().cloned().chain([last]).collect::<Vec<_>>().join(" ");
    match (&rule.action, transport(rule)) {
        (Action::Reject(_), Some(TCP)) => vec![then("reject with tcp reset".to_owned())],
        (Action::Reject(_), None) => {
            vec![then("meta l4proto tcp reject with tcp reset".to_owned()), then(action(&rule.action))]
        }
        _ => vec![then(action(&rule.action))],
    }
}

/// The transport protocol that a rule is for, where it names one.
fn transport(rule: &Rule) -> Option<u8> {
    rule.matches.iter().find_map(|condition| match condition {
        Match::Is { field: Field::L4Proto, op: Op::Eq, value: Value::Proto(protocol) } => Some(*protocol),
        _ => None,
    })
}

fn indent(block: &str) -> String {
    block.lines().map(|line| format!("    {line}\n")).collect()
}

fn types(types: &[Datatype]) -> String {
    let types: Vec<_> = types.iter().map(ToString::to_string).collect();
    types.join(" . ")
}

fn fields(fields: &[Field]) -> String {
    let fields: Vec<_> = fields.iter().map(ToString::to_string).collect();
    fields.join(" . ")
}

/// Equality is not written.
fn not(op: Op) -> &'static str {
    match op {
        Op::Eq => "",
        Op::Ne => "!= ",
    }
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::Is { field, op, value } => format!("{field} {}{value}", not(*op)),
        Match::Within { field, op, net } => format!("{field} {}{net}", not(*op)),
        Match::In { fields: looked_at, op, set } => format!("{} {}@{set}", fields(looked_at), not(*op)),
        Match::CtState(states) => {
            let states: Vec<_> = states.iter().map(ToString::to_string).collect();
            format!("ct state {}", states.join(","))
        }
        Match::CtStatus(CtStatus::Dnat) => "ct status dnat".to_owned(),
        Match::Marked { value, mask: u32::MAX } => format!("meta mark {value:#010x}"),
        Match::Marked { value, mask } => format!("meta mark & {mask:#010x} == {value:#010x}"),
        Match::FibDaddrLocal => "fib daddr type local".to_owned(),
        Match::SetMark(Marking::Found { fields: key, map }) => format!("meta mark set {} map @{map}", fields(key)),
        Match::SetMark(Marking::Random { modulus, offset }) => {
            format!("meta mark set numgen random mod {modulus} offset {offset}")
        }
        Match::SetMark(Marking::Hash(by)) => format!("meta mark set {}", hash(by)),
        Match::Remember { key, map, timeout_s } => {
            format!("update @{map} {{ {} timeout {timeout_s}s : meta mark }}", map_key(key))
        }
        Match::Forget { key, map } => format!("delete @{map} {{ {} : meta mark }}", map_key(key)),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Fields(looked_at) => fields(looked_at),
        MapKey::Hash(by) => hash(by),
    }
}

fn hash(Hash { fields: hashed, modulus, seed, offset }: &Hash) -> String {
    format!("jhash {} mod {modulus} seed {seed:#x} offset {offset}", fields(hashed))
}

fn action(action: &Action) -> String {
    match action {
        Action::Accept => "accept".to_owned(),
        Action::Drop => "drop".to_owned(),
        Action::Reject(with) => format!("reject with icmpx {with}"),
        Action::Return => "return".to_owned(),
        Action::Jump(chain) => format!("jump {chain}"),
        Action::VerdictOfMark { map } => format!("meta mark vmap @{map}"),
        Action::Dnat(target) => format!("dnat {}", nat(target)),
        Action::Snat(target) => format!("snat {}", nat(target)),
        Action::Masquerade => "masquerade".to_owned(),
        Action::Redirect { port } => format!("redirect to :{port}"),
    }
}

/// What a verdict does to a packet.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Reject(with) => format!("reject with icmpx {with}"),
        Verdict::Dnat(address, port) => format!("dnat {}", nat_to(*address, *port)),
        Verdict::Snat(address, port) => format!("snat {}", nat_to(*address, *port)),
        Verdict::Masquerade => "masquerade".to_owned(),
        Verdict::Redirect(port) => format!("redirect to :{port}"),
    }
}

fn nat_to(address: IpAddr, port: Option<u16>) -> String {
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    match port {
        None => format!("{family} to {address}"),
        Some(port) => format!("{family} to {}", SocketAddr::new(address, port)),
    }
}

fn nat(target: &NatTarget) -> String {
    match target {
        NatTarget::To { address, port } => nat_to(*address, *port),
        NatTarget::Map { family, fields: looked_at, map, .. } => {
            format!("{family} to {} map @{map}", fields(looked_at))
        }
    }
}

/// Gives each variant of an enum its word in nft's language.
macro_rules! words {
    ($($name:ident { $($variant:ident => $word:literal),* $(,)? })*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }
    )*};
}

words! {
    Datatype {
        Ipv4Addr => "ipv4_addr",
        Ipv6Addr => "ipv6_addr",
        InetProto => "inet_proto",
        InetService => "inet_service",
        IfName => "ifname",
        Mark => "mark",
        EtherType => "ether_type",
    }
    Field {
        IifName => "meta iifname",
        OifName => "meta oifname",
        IbrName => "meta ibrname",
        Ip4Saddr => "ip saddr",
        Ip4Daddr => "ip daddr",
        Ip6Saddr => "ip6 saddr",
        Ip6Daddr => "ip6 daddr",
        L4Proto => "meta l4proto",
        Sport => "th sport",
        Dport => "th dport",
        Mark => "meta mark",
        EtherType => "ether type",
    }
    CtState {
        Invalid => "invalid",
        Established => "established",
        Related => "related",
        New => "new",
    }
    ChainType {
        Filter => "filter",
        Nat => "nat",
    }
    Hook {
        Prerouting => "prerouting",
        Input => "input",
        Forward => "forward",
        Output => "output",
        Postrouting => "postrouting",
    }
    Policy {
        Accept => "accept",
        Drop => "drop",
    }
    IcmpReject {
        AdminProhibited => "admin-prohibited",
        PortUnreachable => "port-unreachable",
    }
    NatFamily {
        Ip => "ip",
        Ip6 => "ip6",
    }
}
