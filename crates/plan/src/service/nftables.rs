//! Services in nftables: a service is an element that says how its clients are spread, by a mark; a small map leads each mark to the chain
//! that draws a slot; and an element for each slot says who serves. So an endpoint that comes or goes costs a few elements, however many
//! services there are: a map from services to verdicts would be looked through as a whole at each change.
//!
//! The mark is written on the first packet of a connection only. A number in its upper bits tells it from marks of others.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{
    NamespacedName, State,
    address::Family,
    network::Bridge,
    service::{Affinity, Cluster, Spread},
};
use netstate::{
    addr::{Addr, AddrKey},
    netns::NetnsName,
    nft::{
        Action, Chain, ChainKey, CtState, CtStatus, Datatype, Element, ElementData, ElementKey, Field, Filled, Hash,
        IcmpReject, MapKey, MapVerdict, Marking, Match, NatFamily, NatTarget, Op, Rule, Set, SetData, SetKey, Span,
        Value,
    },
    route::{MAIN, Route, RouteKey},
};

use super::table::{Row, rows};
use crate::{
    fragment::{Fragment, address, host_link, main_set, main_table, net},
    listener,
    names::{self, BRIDGES, REFUSED, SERVICES, SERVICES_OF_HOST, SPREAD},
    port,
};

/// Marks that say how clients are spread: this, seconds of affinity, and how many slots.
const FOUND: u32 = 1 << 31;
/// Marks that say a slot: this, and the slot's number from 0.
const SLOT: u32 = 1 << 30;
const COUNT_BITS: u32 = 12;
/// Chains for so many slots are always there.
const COMMON_COUNTS: std::ops::RangeInclusive<u16> = 1..=16;
/// Where the hash of clients begins. It stays the same, or clients would be led elsewhere.
const SEED: u32 = 0x6c73_706e;

/// What is there once for all services: sets, maps and chains, and who is inside the cluster.
pub fn cluster(state: &State) -> Option<Fragment> {
    let cluster = of(state)?;
    let mut fragment = Fragment::default();
    sets(&mut fragment);
    for family in Family::BOTH {
        let names = names::of(family);
        let of_family = |range: &&IpNet| Family::of(range.addr()) == family;
        for (set, ranges) in [(names.inside, &cluster.pod_ranges), (names.service_ranges, &cluster.service_ranges)] {
            let ranges: Vec<_> = ranges.iter().filter(of_family).map(IpNet::trunc).collect();
            IpNet::aggregate(&ranges).into_iter().for_each(|range| fragment.member(set, [net(range)]));
        }
    }
    chain(&mut fragment, SERVICES, services());
    chain(&mut fragment, SERVICES_OF_HOST, services_of_host());
    let refuse = Action::Reject(IcmpReject::PortUnreachable);
    chain(&mut fragment, REFUSED, vec![rule("nobody serves", vec![], refuse)]);
    verdict(&mut fragment, Spread::Refused, MapVerdict::Jump(REFUSED.into()));
    verdict(&mut fragment, Spread::Dropped, MapVerdict::Drop);
    for count in COMMON_COUNTS {
        spread_over(&mut fragment, Spread::Over { count, affinity: Affinity::None });
    }
    route(&mut fragment, state, cluster);
    balancer_addresses(&mut fragment, state, cluster);
    Some(fragment)
}

/// The chain of a way to spread clients that is not always there.
pub fn spread(state: &State, spread: &Spread) -> Option<Fragment> {
    of(state)?;
    state.spreads.get(spread).filter(|_| is_uncommon(spread))?;
    let mut fragment = Fragment::default();
    spread_over(&mut fragment, *spread);
    Some(fragment)
}

/// Whether a way to spread clients needs a chain of its own.
pub fn is_uncommon(spread: &Spread) -> bool {
    match spread {
        Spread::Refused | Spread::Dropped => false,
        Spread::Over { count, affinity } => *affinity != Affinity::None || !COMMON_COUNTS.contains(count),
    }
}

/// The elements of one service.
pub fn service(state: &State, name: &NamespacedName) -> Option<Fragment> {
    of(state)?;
    let mut fragment = Fragment::default();
    rows(state, name).iter().for_each(|row| elements(&mut fragment, row));
    for forwarding in listener::node_ports(state, name) {
        port::proxied(&mut fragment, &forwarding);
    }
    Some(fragment)
}

/// Rules that lead what comes in, and what the host itself asks, to services. What the host serves itself at an address for services, its API
/// and its names, is for its own containers.
pub fn jumps(state: &State) -> [Vec<Rule>; 2] {
    if of(state).is_none() {
        return [Vec::new(), Vec::new()];
    }
    let own = |family: Family| {
        let from_outside = member(vec![Field::IifName], Op::Ne, BRIDGES);
        let of_service = member(vec![daddr(family)], Op::Eq, names::of(family).service_ranges);
        let refuse = Action::Reject(IcmpReject::PortUnreachable);
        rule("the host's own, from outside", vec![from_outside, of_service, Match::FibDaddrLocal], refuse)
    };
    let jump = |chain: &str| rule("services", vec![], Action::Jump(chain.to_owned()));
    let [own4, own6] = Family::BOTH.map(own);
    [vec![own4, own6, jump(SERVICES)], vec![jump(SERVICES_OF_HOST)]]
}

/// Rules for what passes through the host from link to link, before all others: endpoints may be neither side's network.
pub fn forward_first(state: &State) -> Vec<Rule> {
    if of(state).is_none() {
        return Vec::new();
    }
    let known = Match::CtState(vec![CtState::Established, CtState::Related]);
    vec![
        rule("service", vec![Match::CtStatus(CtStatus::Dnat), from_service()], Action::Accept),
        rule("known connection of a service", vec![Match::CtStatus(CtStatus::Dnat), known], Action::Accept),
    ]
}

/// Rules for what belongs to no known connection: an endpoint's packet that connection tracking does not take for an answer would reach
/// the client with the endpoint's own address, and the client would end the connection.
pub fn forward_known(state: &State) -> Vec<Rule> {
    if of(state).is_none() {
        return Vec::new();
    }
    let strange = |family: Family| {
        let from_pod = member(vec![saddr(family)], Op::Eq, names::of(family).inside);
        rule("answer of no connection", vec![Match::CtState(vec![CtState::Invalid]), from_pod], Action::Drop)
    };
    Family::BOTH.map(strange).into()
}

/// Rules for who asks from outside and is led to the outside again: the answer must come back this way. Pods keep their address.
pub fn postrouting(state: &State) -> Vec<Rule> {
    if of(state).is_none() {
        return Vec::new();
    }
    let elsewhere = |family: Family| {
        let matches = vec![
            member(vec![Field::OifName], Op::Ne, BRIDGES),
            Match::CtStatus(CtStatus::Dnat),
            from_service(),
            member(vec![saddr(family)], Op::Ne, names::of(family).inside),
        ];
        rule("to an endpoint elsewhere", matches, Action::Masquerade)
    };
    Family::BOTH.map(elsewhere).into()
}

/// The cluster, where there is anything at all.
fn of(state: &State) -> Option<&Cluster> {
    state.settings.as_ref().and(state.cluster.as_deref())
}

fn sets(fragment: &mut Fragment) {
    use Datatype::{InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
    let mut set = |name: &str, key: &[Datatype], data: SetData, interval, filled| {
        let key_of = SetKey { table: main_table(), name: name.to_owned() };
        fragment.put(key_of, Set { key: key.to_vec(), data, interval, filled });
    };
    let mark = || SetData::Values(vec![Mark]);
    set(SPREAD, &[Mark], SetData::Verdict, false, Filled::ByUs);
    for (family, address) in [(Family::V4, Ipv4Addr), (Family::V6, Ipv6Addr)] {
        let names = names::of(family);
        let asked = [address, InetProto, InetService];
        let asking = [address, address, InetProto, InetService];
        let end = SetData::Values(vec![address, InetService]);
        set(names.service, &asked, mark(), false, Filled::ByUs);
        set(names.service_inside, &asked, mark(), false, Filled::ByUs);
        set(names.ends, &[address, InetProto, InetService, Mark], end, false, Filled::ByUs);
        set(names.guarded, &asked, SetData::None, false, Filled::ByUs);
        set(names.allowed, &asking, SetData::None, true, Filled::ByUs);
        set(names.inside, &[address], SetData::None, true, Filled::ByUs);
        set(names.service_ranges, &[address], SetData::None, true, Filled::ByUs);
        let known_by = if family == Family::V4 { &asking[..] } else { &[Mark] };
        set(names.known_clients, known_by, mark(), false, Filled::ByPackets);
    }
}

/// New connections from anywhere. What is asked at an address for services where none is must not go on to look for it elsewhere.
fn services() -> Vec<Rule> {
    let each = |family: Family| {
        let names = names::of(family);
        let from = member(asking(family), Op::Ne, names.allowed);
        let inside = member(vec![saddr(family)], Op::Eq, names.inside);
        let none_there = member(vec![daddr(family)], Op::Eq, names.service_ranges);
        let refuse = Action::Reject(IcmpReject::PortUnreachable);
        [
            rule("who may not ask", vec![member(asked(family), Op::Eq, names.guarded), from], Action::Drop),
            rule("service, from inside", vec![inside, found(asked(family), names.service_inside)], by_mark()),
            rule("service", vec![found(asked(family), names.service)], by_mark()),
            rule("the host itself", vec![none_there.clone(), Match::FibDaddrLocal], Action::Return),
            rule("no such service", vec![none_there], refuse),
        ]
    };
    Family::BOTH.into_iter().flat_map(each).collect()
}

/// The host is inside the cluster, whatever address it asks from.
fn services_of_host() -> Vec<Rule> {
    let inside = |family: Family| {
        let found = found(asked(family), names::of(family).service_inside);
        rule("service, from inside", vec![found], by_mark())
    };
    let rest = rule("services", vec![], Action::Jump(SERVICES.to_owned()));
    Family::BOTH.into_iter().map(inside).chain([rest]).collect()
}

/// The chain that draws a slot and leads there. A slot that a client was once led to may be gone, and then another is drawn.
fn spread_over(fragment: &mut Fragment, spread: Spread) {
    let Spread::Over { count, affinity } = spread else { return };
    let modulus = u32::from(count);
    let draw = || Match::SetMark(Marking::Random { modulus, offset: SLOT });
    let (name, rules) = match affinity {
        Affinity::None => {
            let any = |family| rule(&format!("any of {count}"), vec![draw()], to_slot(family));
            (format!("spread_{count}"), Family::BOTH.map(any).to_vec())
        }
        Affinity::ClientIp { timeout_s } => {
            let rules = Family::BOTH.into_iter().flat_map(|family| sticky(family, count, timeout_s));
            (format!("sticky_{count}_{timeout_s}"), rules.collect())
        }
    };
    chain(fragment, &name, rules);
    verdict(fragment, spread, MapVerdict::Jump(name.into()));
}

/// The slot that a client has had is kept in a map that packets fill. nft 1.0.6 cannot load a rule that fills one by IPv6 addresses and
/// ports: there it is by their hash. Two whose hashes are alike share a slot.
fn sticky(family: Family, count: u16, timeout_s: u32) -> Vec<Rule> {
    let known = names::of(family).known_clients;
    let hash = || Hash { fields: asking(family), modulus: u32::MAX, seed: SEED, offset: 0 };
    let key = || match family {
        Family::V4 => MapKey::Fields(asking(family)),
        Family::V6 => MapKey::Hash(hash()),
    };
    let mut again = match family {
        Family::V4 => vec![found(asking(family), known)],
        Family::V6 => vec![Match::SetMark(Marking::Hash(hash())), found(vec![Field::Mark], known)],
    };
    let remember = || Match::Remember { key: key(), map: known.to_owned(), timeout_s };
    let forget = Match::Forget { key: key(), map: known.to_owned() };
    let draw = Match::SetMark(Marking::Random { modulus: u32::from(count), offset: SLOT });
    again.push(remember());
    vec![
        rule("the same again", again, to_slot(family)),
        rule(&format!("any of {count}"), vec![forget, draw, remember()], to_slot(family)),
    ]
}

fn elements(fragment: &mut Fragment, row: &Row<'_>) {
    let names = names::of(Family::of(row.address.ip()));
    let protocol = Value::Proto(row.protocol.number());
    let asked = || [address(row.address.ip()), protocol.clone(), Value::Port(row.address.port())].map(Span::from);
    fragment.mapping(names.service, asked(), [Value::Mark(mark(row.spread))]);
    if let Some(inside) = row.from_inside {
        fragment.mapping(names.service_inside, asked(), [Value::Mark(mark(inside))]);
    }
    for (end, slot) in row.ends.iter().zip(0..) {
        let [ip, protocol, port] = asked();
        let key = [ip, protocol, port, Value::Mark(SLOT | slot).into()];
        fragment.mapping(names.ends, key, [address(end.ip()), Value::Port(end.port())]);
    }
    if let Some(sources) = &row.sources {
        fragment.member(names.guarded, asked());
        for source in sources {
            let [ip, protocol, port] = asked();
            fragment.member(names.allowed, [net(*source), ip, protocol, port]);
        }
    }
}

/// The host asks services from its address on the pods' network, and so needs no way to the outside for it.
fn route(fragment: &mut Fragment, state: &State, cluster: &Cluster) {
    let Some(bridge) = pods_bridge(state, cluster) else { return };
    let Some(link) = host_link(&bridge.link) else { return };
    for range in &cluster.service_ranges {
        let family = Family::of(range.addr());
        if bridge.subnet(family).is_none() {
            continue;
        }
        // The kernel gives an IPv6 route this metric when it is asked for none.
        let metric = if family == Family::V4 { 0 } else { 1024 };
        let key = RouteKey { netns: NetnsName::Host, table: MAIN, destination: range.trunc(), metric };
        fragment.put(key, Route { device: link.name.clone(), via: None });
    }
}

/// The host takes the addresses that its load balancers have from a pool, so that its neighbours find them at it (arp(7): of any address
/// of its own it tells, whatever the link). Neighbours by IPv6 need a route.
fn balancer_addresses(fragment: &mut Fragment, state: &State, cluster: &Cluster) {
    let Some(link) = pods_bridge(state, cluster).and_then(|bridge| host_link(&bridge.link)) else { return };
    let from_pool = |address: &IpAddr| {
        let in_pool = cluster.balancer_ranges.iter().any(|range| range.contains(address));
        in_pool && !cluster.node_addresses.contains(address)
    };
    for service in state.services.values() {
        for address in service.wish.balancer_addresses.iter().filter(|address| from_pool(address)) {
            fragment.put(AddrKey { link: link.clone(), address: IpNet::from(*address) }, Addr {});
        }
    }
}

fn pods_bridge<'s>(state: &'s State, cluster: &Cluster) -> Option<&'s Bridge> {
    state.networks.get(cluster.pod_network.as_ref()?)?.bridge()
}

/// The mark for a way to spread clients.
fn mark(spread: Spread) -> u32 {
    match spread {
        Spread::Refused => FOUND,
        Spread::Dropped => FOUND | 1 << COUNT_BITS,
        Spread::Over { count, affinity: Affinity::None } => FOUND | u32::from(count),
        Spread::Over { count, affinity: Affinity::ClientIp { timeout_s } } => {
            FOUND | timeout_s << COUNT_BITS | u32::from(count)
        }
    }
}

fn verdict(fragment: &mut Fragment, spread: Spread, verdict: MapVerdict) {
    let key = ElementKey { set: main_set(SPREAD), key: [Value::Mark(mark(spread)).into()].into() };
    fragment.put(key, Element { data: ElementData::Verdict(verdict) });
}

fn chain(fragment: &mut Fragment, name: &str, rules: Vec<Rule>) {
    fragment.put(ChainKey { table: main_table(), name: name.to_owned() }, Chain { base: None, rules });
}

fn rule(name: &str, matches: Vec<Match>, action: Action) -> Rule {
    Rule { name: name.to_owned(), matches, action }
}

fn by_mark() -> Action {
    Action::VerdictOfMark { map: SPREAD.to_owned() }
}

fn found(fields: Vec<Field>, map: &str) -> Match {
    Match::SetMark(Marking::Found { fields, map: map.to_owned() })
}

fn member(fields: Vec<Field>, op: Op, set: &str) -> Match {
    Match::In { fields, op, set: set.to_owned() }
}

/// The packet that opens a connection to a service still has the mark of its slot.
fn from_service() -> Match {
    Match::Marked { value: SLOT, mask: FOUND | SLOT }
}

fn to_slot(family: Family) -> Action {
    let nat = if family == Family::V4 { NatFamily::Ip } else { NatFamily::Ip6 };
    let fields = [asked(family), vec![Field::Mark]].concat();
    Action::Dnat(NatTarget::Map { family: nat, fields, map: names::of(family).ends.to_owned(), with_port: true })
}

fn asked(family: Family) -> Vec<Field> {
    vec![daddr(family), Field::L4Proto, Field::Dport]
}

fn asking(family: Family) -> Vec<Field> {
    [vec![saddr(family)], asked(family)].concat()
}

fn saddr(family: Family) -> Field {
    if family == Family::V4 { Field::Ip4Saddr } else { Field::Ip6Saddr }
}

fn daddr(family: Family) -> Field {
    if family == Family::V4 { Field::Ip4Daddr } else { Field::Ip6Daddr }
}
