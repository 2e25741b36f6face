//! Rules evaluated on a virtual packet, as the kernel's `nft_do_chain` would. Finds verdicts; what they do to the packet is `trace`'s.

use std::{net::IpAddr, sync::Arc};

use super::{
    chain::{Base, Chain, ChainKey, Hook, Policy},
    packed::Spans,
    rule::{Action, CtState, CtStatus, Field, Hash, IcmpReject, Marking, Match, NatFamily, NatTarget, Op, Rule},
    set::{ElementData, ElementKey, MapVerdict, SetKey, Span},
    table::{Family, TableKey},
    value::Value,
};
use crate::{NetState, netns::NetnsName};

/// Deepest nesting of jumps (`NFT_JUMP_STACK_SIZE` in the kernel).
const JUMPS_MAX: usize = 16;

/// What rules see of a packet at one hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Link it came in by; none for what this host sends.
    pub iif: Option<String>,
    /// Link it leaves by; none before routing.
    pub oif: Option<String>,
    /// The bridge, for a frame (bridge family).
    pub bridge: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// Transport protocol number.
    pub proto: u8,
    /// Source and destination port, if the protocol has ports.
    pub ports: Option<(u16, u16)>,
    /// Packet mark.
    pub mark: u32,
    /// Its place in its connection.
    pub state: CtState,
    /// Whether the connection's destination was translated.
    pub dnat: bool,
    /// Whether the destination is an address of this namespace.
    pub local: bool,
    /// What chance has for it: a random number is this one, modulo how many there are to choose from.
    pub chance: u32,
}

/// What becomes of a packet in a base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the next chain of the hook.
    Accept,
    /// Gone.
    Drop,
    /// Gone, and the sender is told.
    Reject(IcmpReject),
    /// Goes on with a new destination; no port keeps it.
    Dnat(IpAddr, Option<u16>),
    /// Goes on with a new source; no port keeps it.
    Snat(IpAddr, Option<u16>),
    /// Goes on with the outgoing link's address as source.
    Masquerade,
    /// Goes on to this port of this host.
    Redirect(u16),
}

/// A verdict and who spoke it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The chain.
    pub chain: ChainKey,
    /// The rule's name; none when it was the chain's policy.
    pub rule: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// The packet's mark by then.
    pub mark: u32,
}

/// The chains of a hook, in the order packets pass them.
pub fn base_chains<'a>(
    state: &'a NetState,
    netns: &NetnsName,
    family: Family,
    hook: Hook,
) -> Vec<(&'a ChainKey, &'a Chain, &'a Base)> {
    let table = TableKey { netns: netns.clone(), family };
    let hooked = |(key, chain): (&'a ChainKey, &'a Chain)| chain.base.as_ref().map(|base| (key, chain, base));
    let mut chains: Vec<_> = state.chains(&table).filter_map(hooked).filter(|(_, _, base)| base.hook == hook).collect();
    chains.sort_by_key(|(_, _, base)| base.priority);
    chains
}

/// What a base chain decides; none when no rule does and its policy is to accept.
pub fn decide(state: &NetState, key: &ChainKey, sight: &Sight) -> Option<Decision> {
    let base = state.chain(key)?.base.as_ref()?;
    let mut sight = sight.clone();
    match call(state, key, &mut sight, 0) {
        Flow::Decided(decision) => Some(decision),
        Flow::Return if base.policy == Policy::Drop => {
            Some(Decision { chain: key.clone(), rule: None, verdict: Verdict::Drop, mark: sight.mark })
        }
        Flow::Return => None,
    }
}

enum Flow {
    Decided(Decision),
    Return,
}

fn call(state: &NetState, key: &ChainKey, sight: &mut Sight, depth: usize) -> Flow {
    let Some(chain) = state.chain(key).filter(|_| depth < JUMPS_MAX) else {
        return Flow::Return;
    };
    for rule in &chain.rules {
        if !rule.matches.iter().all(|condition| holds(state, &key.table, condition, sight)) {
            continue;
        }
        let mark = sight.mark;
        let decided =
            |verdict| Flow::Decided(Decision { chain: key.clone(), rule: Some(rule.name.clone()), verdict, mark });
        let called = match &rule.action {
            Action::Jump(name) => Some(name.clone()),
            Action::VerdictOfMark { map } => match find(state, &set_key(&key.table, map), vec![Value::Mark(mark)]) {
                Some(ElementData::Verdict(MapVerdict::Drop)) => return decided(Verdict::Drop),
                Some(ElementData::Verdict(MapVerdict::Jump(name))) => Some(name.to_string()),
                _ => continue,
            },
            _ => None,
        };
        if let Some(name) = called {
            let called = ChainKey { table: key.table.clone(), name };
            if let Flow::Decided(decision) = call(state, &called, sight, depth + 1) {
                return Flow::Decided(decision);
            }
        } else if rule.action == Action::Return {
            return Flow::Return;
        } else if let Some(verdict) = verdict(state, &key.table, rule, sight) {
            return decided(verdict);
        }
    }
    Flow::Return
}

/// What the action of a rule comes to; none when a translation's map does not have the key, or is not about this family.
fn verdict(state: &NetState, table: &TableKey, rule: &Rule, sight: &Sight) -> Option<Verdict> {
    Some(match &rule.action {
        Action::Accept => Verdict::Accept,
        Action::Drop => Verdict::Drop,
        Action::Reject(with) => Verdict::Reject(*with),
        Action::Dnat(target) => {
            let (address, port) = translation(state, table, target, sight)?;
            Verdict::Dnat(address, port)
        }
        Action::Snat(target) => {
            let (address, port) = translation(state, table, target, sight)?;
            Verdict::Snat(address, port)
        }
        Action::Masquerade => Verdict::Masquerade,
        Action::Redirect { port } => Verdict::Redirect(*port),
        Action::Return | Action::Jump(_) | Action::VerdictOfMark { .. } => return None,
    })
}

fn holds(state: &NetState, table: &TableKey, condition: &Match, sight: &mut Sight) -> bool {
    let as_asked = |op: Op, is: bool| is == (op == Op::Eq);
    match condition {
        Match::Is { field, op, value } => read(*field, sight).is_some_and(|seen| as_asked(*op, seen == *value)),
        Match::Within { field, op, net } => {
            let address = match read(*field, sight) {
                Some(Value::Ipv4(address)) => IpAddr::V4(address),
                Some(Value::Ipv6(address)) => IpAddr::V6(address),
                _ => return false,
            };
            as_asked(*op, net.contains(&address))
        }
        Match::In { fields, op, set } => {
            let set = set_key(table, set);
            read_all(fields, sight).is_some_and(|key| as_asked(*op, find(state, &set, key).is_some()))
        }
        Match::CtState(states) => states.contains(&sight.state),
        Match::CtStatus(CtStatus::Dnat) => sight.dnat,
        Match::Marked { value, mask } => sight.mark & mask == *value,
        Match::FibDaddrLocal => sight.local,
        Match::SetMark(marking) => {
            let found = mark(state, table, marking, sight);
            sight.mark = found.unwrap_or(sight.mark);
            found.is_some()
        }
        // What packets before this one left behind is not known.
        Match::Remember { key, .. } | Match::Forget { key, .. } => read_all(key.fields(), sight).is_some(),
    }
}

fn mark(state: &NetState, table: &TableKey, marking: &Marking, sight: &Sight) -> Option<u32> {
    match marking {
        // What the kernel's hash comes to is as good as chance.
        Marking::Random { modulus, offset } | Marking::Hash(Hash { modulus, offset, .. }) => {
            Some(offset + sight.chance.checked_rem(*modulus)?)
        }
        Marking::Found { fields, map } => match find(state, &set_key(table, map), read_all(fields, sight)?)? {
            ElementData::Values(values) => match values.iter().next() {
                Some(Value::Mark(mark)) => Some(mark),
                _ => None,
            },
            _ => None,
        },
    }
}

fn set_key(table: &TableKey, name: &str) -> SetKey {
    SetKey { table: table.clone(), name: name.to_owned() }
}

fn translation(state: &NetState, table: &TableKey, target: &NatTarget, sight: &Sight) -> Option<(IpAddr, Option<u16>)> {
    match target {
        NatTarget::To { address, port } => {
            (address.is_ipv4() == sight.destination.is_ipv4()).then_some((*address, *port))
        }
        NatTarget::Map { family, fields, map, .. } => {
            if (*family == NatFamily::Ip) != sight.destination.is_ipv4() {
                return None;
            }
            let map = set_key(table, map);
            let ElementData::Values(values) = find(state, &map, read_all(fields, sight)?)? else {
                return None;
            };
            let mut values = values.iter();
            let address = values.next()?.address()?;
            match values.next() {
                None => Some((address, None)),
                Some(Value::Port(port)) => Some((address, Some(port))),
                Some(_) => None,
            }
        }
    }
}

/// The data of the element that has the key; in a set with intervals, of the one whose spans hold it.
fn find<'a>(state: &'a NetState, set: &SetKey, key: Vec<Value>) -> Option<&'a ElementData> {
    let exact = ElementKey { set: Arc::new(set.clone()), key: key.iter().cloned().map(Span::from).collect() };
    if let Some(element) = state.element(&exact) {
        return Some(&element.data);
    }
    if !state.set(set)?.interval {
        return None;
    }
    let within = |spans: &Spans| spans.iter().zip(&key).all(|(span, value)| span.holds(value));
    state.elements(set).find(|(element, _)| within(&element.key)).map(|(_, element)| &element.data)
}

fn read_all(fields: &[Field], sight: &Sight) -> Option<Vec<Value>> {
    fields.iter().map(|field| read(*field, sight)).collect()
}

/// What a field is in this packet; none when the packet has none, and then the rule does not match whatever it asks. An absent link reads as
/// the empty name.
fn read(field: Field, sight: &Sight) -> Option<Value> {
    let v4 = |address: IpAddr| match address {
        IpAddr::V4(address) => Some(Value::Ipv4(address)),
        IpAddr::V6(_) => None,
    };
    let v6 = |address: IpAddr| match address {
        IpAddr::V6(address) => Some(Value::Ipv6(address)),
        IpAddr::V4(_) => None,
    };
    match field {
        Field::IifName => Some(Value::IfName(sight.iif.clone().unwrap_or_default())),
        Field::OifName => Some(Value::IfName(sight.oif.clone().unwrap_or_default())),
        Field::IbrName => sight.bridge.clone().map(Value::IfName),
        Field::Ip4Saddr => v4(sight.source),
        Field::Ip4Daddr => v4(sight.destination),
        Field::Ip6Saddr => v6(sight.source),
        Field::Ip6Daddr => v6(sight.destination),
        Field::L4Proto => Some(Value::Proto(sight.proto)),
        Field::Sport => sight.ports.map(|(source, _)| Value::Port(source)),
        Field::Dport => sight.ports.map(|(_, destination)| Value::Port(destination)),
        Field::Mark => Some(Value::Mark(sight.mark)),
        Field::EtherType => Some(Value::EtherType(if sight.destination.is_ipv4() { 0x0800 } else { 0x86dd })),
    }
}

impl Span {
    /// Whether a value is in it.
    pub fn holds(&self, value: &Value) -> bool {
        self.first <= *value && *value <= self.last && value.datatype() == self.first.datatype()
    }
}
