//! What is there once: forwarding, and the tables with their chains and sets. Which packets they are about is said by elements, which
//! networks, endpoints and published ports add.
//!
//! Accepting here never overrides the host's own firewall: its chains see the packet too.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{
    State,
    address::Family,
    host::{BetweenOthers, Forward, Forwarding, MaskedMark},
    network::{Bridge, Icc},
};
use netstate::{
    netns::NetnsName,
    nft::{
        Action, Base, Chain, ChainKey, ChainType, CtState, CtStatus, Datatype, Field, Filled, Hook, Match, NatFamily,
        NatTarget, Op, Policy, Rule, Set, SetData, SetKey, Table, TableKey, Value,
    },
};

use crate::{
    fragment::{Fragment, bridge_table, main_table},
    names::{
        self, BRIDGES, FORWARD, INTERNAL, LINKED_ONLY, LISTENER_PORT, OUTPUT, POSTROUTING, PREROUTING, PUBLISH,
        RAW_PREROUTING, SAME, TRUSTED,
    },
    service::nftables,
};

/// Priorities of nft(8): `raw`, `dstnat`, `filter`, `srcnat`.
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMPV6: u8 = 58;
const ARP: u16 = 0x0806;

/// What is there once. An empty state wants nothing at all.
pub fn fragment(state: &State) -> Option<Fragment> {
    let settings = state.settings.as_ref()?;
    let mut fragment = Fragment::default();
    let turn_on = settings.forward == Forward::TurnOn;
    if turn_on {
        fragment.sysctl(&NetnsName::Host, setting(Family::V4), "1");
    }
    if turn_on && bridges(state).any(|bridge| bridge.ipv6.is_some()) {
        fragment.sysctl(&NetnsName::Host, setting(Family::V6), "1");
    }
    main(&mut fragment, state);
    if has_strict(state) {
        linked_only(&mut fragment);
    }
    Some(fragment)
}

/// Without the rules that keep others' packets from passing, the host must not go on to forward them.
pub fn left(state: &State) -> Fragment {
    let mut fragment = Fragment::default();
    for family in not_through(state) {
        fragment.sysctl(&NetnsName::Host, setting(family), "0");
    }
    fragment
}

fn setting(family: Family) -> &'static str {
    match family {
        Family::V4 => "net/ipv4/ip_forward",
        Family::V6 => "net/ipv6/conf/all/forwarding",
    }
}

fn bridges(state: &State) -> impl Iterator<Item = &Bridge> {
    state.networks.values().filter_map(|network| network.bridge())
}

/// Whether there is a network that lets only linked sandboxes talk.
fn has_strict(state: &State) -> bool {
    bridges(state).any(|bridge| bridge.icc == Icc::LinkedOnly)
}

fn main(fragment: &mut Fragment, state: &State) {
    let table = main_table();
    fragment.put(table.clone(), Table {});
    main_sets(fragment, &table, has_strict(state));
    let mut chain = |name: &str, base, rules| {
        fragment.put(ChainKey { table: table.clone(), name: name.to_owned() }, Chain { base, rules });
    };
    chain(RAW_PREROUTING, hook(ChainType::Filter, Hook::Prerouting, RAW), vec![loopback_is_private()]);
    let [mut prerouting, mut output] = nftables::jumps(state);
    prerouting.push(published());
    output.push(published());
    chain(PREROUTING, hook(ChainType::Nat, Hook::Prerouting, DSTNAT), prerouting);
    chain(OUTPUT, hook(ChainType::Nat, Hook::Output, DSTNAT), output);
    chain(PUBLISH, None, publish(has_strict(state)));
    chain(FORWARD, hook(ChainType::Filter, Hook::Forward, FILTER), forward(state));
    chain(POSTROUTING, hook(ChainType::Nat, Hook::Postrouting, SRCNAT), postrouting(state));
}

fn main_sets(fragment: &mut Fragment, table: &TableKey, strict: bool) {
    use Datatype::{IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr};
    let mut set = |name: &str, key: &[Datatype], data: &[Datatype], interval| {
        let data = if data.is_empty() { SetData::None } else { SetData::Values(data.to_vec()) };
        let key_of = SetKey { table: table.clone(), name: name.to_owned() };
        fragment.put(key_of, Set { key: key.to_vec(), data, interval, filled: Filled::ByUs });
    };
    for name in [BRIDGES, INTERNAL] {
        set(name, &[IfName], &[], false);
    }
    for name in [SAME, TRUSTED] {
        set(name, &[IfName, IfName], &[], false);
    }
    for (family, address) in [(Family::V4, Ipv4Addr), (Family::V6, Ipv6Addr)] {
        let names = names::of(family);
        let service = [address, InetProto, InetService];
        set(names.publish, &service, &[address], true);
        set(names.publish_to, &service, &[address, InetService], true);
        set(names.proxied, &service, &[], true);
        if strict {
            set(names.proxied_within, &[address, address, InetProto, InetService], &[], true);
        }
        set(names.open, &service, &[], true);
        for name in [names.routed, names.unprotected, names.masquerade] {
            set(name, &[address], &[], true);
        }
        set(names.snat, &[address], &[address], true);
        set(names.hairpin, &[address, address], &[], true);
        set(names.linked, &[address, address], &[], false);
    }
}

/// Ports published at 127.0.0.1 are the host's own (the bridges' `route_localnet` would let others have them). Before connection
/// tracking, so that answers to the host itself, whose address is still translated here, pass.
fn loopback_is_private() -> Rule {
    let from_outside = is(Field::IifName, Op::Ne, Value::IfName("lo".to_owned()));
    rule("loopback is private", vec![from_outside, within(Field::Ip4Daddr, loopback4())], Action::Drop)
}

fn published() -> Rule {
    rule("published ports", vec![Match::FibDaddrLocal], Action::Jump(PUBLISH.to_owned()))
}

/// Userspace listeners come first: at `::1` they serve what else would be translated, see `listener`. A translation to a port must
/// know its transport protocol (nft(8)), so those rules stand once for each.
fn publish(strict: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (family, protocol) in Family::BOTH.into_iter().flat_map(|family| [(family, TCP), (family, UDP)]) {
        let names = names::of(family);
        // nft(8) asks for the protocol before a redirection to a port.
        let mut listener = |name, fields, set| {
            let matches = vec![is(Field::L4Proto, Op::Eq, Value::Proto(protocol)), member(fields, set)];
            rules.push(rule(name, matches, Action::Redirect { port: LISTENER_PORT }));
        };
        let service = [daddr(family), Field::L4Proto, Field::Dport];
        listener("userspace listener", service.to_vec(), names.proxied);
        if strict {
            let from = [&[saddr(family)][..], &service].concat();
            listener("userspace listener for its own network", from, names.proxied_within);
        }
    }
    for family in Family::BOTH {
        let names = names::of(family);
        let to = |map: &str, with_port| {
            let fields = vec![daddr(family), Field::L4Proto, Field::Dport];
            Action::Dnat(NatTarget::Map { family: nat(family), fields, map: map.to_owned(), with_port })
        };
        rules.push(rule("published port", vec![], to(names.publish, false)));
        for protocol in [TCP, UDP, SCTP] {
            rules.push(rule("published port", vec![protocol_is(protocol)], to(names.publish_to, true)));
        }
    }
    rules
}

/// The families of which nothing passes between links that are not ours: the host forwards them only since we asked it to.
fn not_through(state: &State) -> impl Iterator<Item = Family> {
    let settings = state.settings.as_deref().filter(|settings| settings.between_others == BetweenOthers::Dropped);
    settings.into_iter().flat_map(|settings| {
        let by = [(Family::V4, settings.forwarding_ipv4), (Family::V6, settings.forwarding_ipv6)];
        by.into_iter().filter(|(_, by)| *by == Forwarding::ByUs).map(|(family, _)| family)
    })
}

fn no_way_through(family: Family) -> Rule {
    rule("no way through", vec![not_bridge(Field::IifName), not_bridge(Field::OifName), all(family)], Action::Drop)
}

fn forward(state: &State) -> Vec<Rule> {
    let pair = || vec![Field::IifName, Field::OifName];
    let mut rules = nftables::forward_first(state);
    rules.extend(not_through(state).map(no_way_through));
    rules.extend([rule("not ours", vec![not_bridge(Field::IifName), not_bridge(Field::OifName)], Action::Accept)]);
    let marked = state.settings.as_ref().and_then(|settings| settings.accept_mark);
    rules.extend(marked.map(|MaskedMark { value, mask }| {
        rule("marked by the host", vec![Match::Marked { value, mask }], Action::Accept)
    }));
    rules.extend([rule(
        "known connection",
        vec![Match::CtState(vec![CtState::Established, CtState::Related])],
        Action::Accept,
    )]);
    rules.extend(nftables::forward_known(state));
    rules.extend([rule("same network", vec![member(pair(), SAME)], Action::Accept)]);
    // Frames from port to port come here too where br_netfilter shows them, and linked ones must find each other.
    if bridges(state).any(|bridge| bridge.icc == Icc::LinkedOnly && bridge.ipv6.is_some()) {
        rules.push(address_resolution());
    }
    rules.extend([
        rule("out of an internal network", vec![member(vec![Field::IifName], INTERNAL)], Action::Drop),
        rule("into an internal network", vec![member(vec![Field::OifName], INTERNAL)], Action::Drop),
        rule("published port", vec![Match::CtStatus(CtStatus::Dnat)], Action::Accept),
        rule("trusted link", vec![member(pair(), TRUSTED)], Action::Accept),
    ]);
    for family in Family::BOTH {
        let names = names::of(family);
        let icmp = protocol_is(if family == Family::V4 { ICMP } else { ICMPV6 });
        let to = |set| member(vec![daddr(family)], set);
        let service = vec![daddr(family), Field::L4Proto, Field::Dport];
        rules.extend([
            rule("linked", vec![member(vec![saddr(family), daddr(family)], names.linked)], Action::Accept),
            rule("unprotected network", vec![to(names.unprotected)], Action::Accept),
            rule("open port", vec![member(service, names.open)], Action::Accept),
            rule("ping to a routed network", vec![to(names.routed), icmp], Action::Accept),
        ]);
    }
    rules.push(rule("unpublished", vec![member(vec![Field::OifName], BRIDGES)], Action::Drop));
    rules
}

fn postrouting(state: &State) -> Vec<Rule> {
    let mut rules = vec![rule(
        "from loopback",
        vec![member(vec![Field::OifName], BRIDGES), within(Field::Ip4Saddr, loopback4())],
        Action::Masquerade,
    )];
    for family in Family::BOTH {
        let names = names::of(family);
        // The addresses tell, not the link it came by: where br_netfilter leads the packet there is none.
        let hairpin = member(vec![saddr(family), daddr(family)], names.hairpin);
        rules.push(rule("back to its own network", vec![hairpin, Match::CtStatus(CtStatus::Dnat)], Action::Masquerade));
        let outside = || not_bridge(Field::OifName);
        let (family_of_nat, fields) = (nat(family), vec![saddr(family)]);
        let map = NatTarget::Map {
            family: family_of_nat,
            fields: fields.clone(),
            map: names.snat.to_owned(),
            with_port: false,
        };
        rules.push(rule("to the outside as", vec![outside()], Action::Snat(map)));
        rules.push(rule("to the outside", vec![outside(), member(fields, names.masquerade)], Action::Masquerade));
    }
    rules.extend(nftables::postrouting(state));
    rules
}

/// Frames between two sandboxes of one bridge whose network forbids it. Addresses are resolved by all, so that linked ones find each
/// other: ARP, and the multicast half of NDP (RFC 4861, 7.2.1); its unicast half falls under the link.
fn linked_only(fragment: &mut Fragment) {
    let table = bridge_table();
    fragment.put(table.clone(), Table {});
    let mut set = |name: &str, key: &[Datatype]| {
        let key_of = SetKey { table: table.clone(), name: name.to_owned() };
        fragment.put(key_of, Set { key: key.to_vec(), data: SetData::None, interval: false, filled: Filled::ByUs });
    };
    set(LINKED_ONLY, &[Datatype::IfName]);
    set(names::of(Family::V4).linked, &[Datatype::Ipv4Addr, Datatype::Ipv4Addr]);
    set(names::of(Family::V6).linked, &[Datatype::Ipv6Addr, Datatype::Ipv6Addr]);
    // The port tells the bridge too, and kernels without NFT_BRIDGE_META know it.
    let other_port = Match::In { fields: vec![Field::IifName], op: Op::Ne, set: LINKED_ONLY.to_owned() };
    let linked = |family| member(vec![saddr(family), daddr(family)], names::of(family).linked);
    let rules = vec![
        rule("other networks", vec![other_port], Action::Accept),
        rule("address resolution", vec![is(Field::EtherType, Op::Eq, Value::EtherType(ARP))], Action::Accept),
        address_resolution(),
        rule("linked", vec![linked(Family::V4)], Action::Accept),
        rule("linked", vec![linked(Family::V6)], Action::Accept),
        rule("not linked", vec![], Action::Drop),
    ];
    let base = hook(ChainType::Filter, Hook::Forward, FILTER);
    fragment.put(ChainKey { table, name: FORWARD.to_owned() }, Chain { base, rules });
}

/// The half of NDP that says who asks whom in the address only: no router lets it pass from link to link (RFC 4291, 2.7).
fn address_resolution() -> Rule {
    rule("address resolution", vec![within(Field::Ip6Daddr, solicited_node())], Action::Accept)
}

fn hook(kind: ChainType, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority, policy: Policy::Accept })
}

fn rule(name: &str, matches: Vec<Match>, action: Action) -> Rule {
    Rule { name: name.to_owned(), matches, action }
}

fn is(field: Field, op: Op, value: Value) -> Match {
    Match::Is { field, op, value }
}

fn protocol_is(number: u8) -> Match {
    is(Field::L4Proto, Op::Eq, Value::Proto(number))
}

fn within(field: Field, net: IpNet) -> Match {
    Match::Within { field, op: Op::Eq, net }
}

/// Every packet of a family.
fn all(family: Family) -> Match {
    within(daddr(family), IpNet::new_assert(family.unspecified(), 0))
}

fn member(fields: Vec<Field>, set: &str) -> Match {
    Match::In { fields, op: Op::Eq, set: set.to_owned() }
}

fn not_bridge(field: Field) -> Match {
    Match::In { fields: vec![field], op: Op::Ne, set: BRIDGES.to_owned() }
}

fn saddr(family: Family) -> Field {
    if family == Family::V4 { Field::Ip4Saddr } else { Field::Ip6Saddr }
}

fn daddr(family: Family) -> Field {
    if family == Family::V4 { Field::Ip4Daddr } else { Field::Ip6Daddr }
}

fn nat(family: Family) -> NatFamily {
    if family == Family::V4 { NatFamily::Ip } else { NatFamily::Ip6 }
}

/// 127.0.0.0/8
fn loopback4() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))
}

/// ff02::1:ff00:0/104 (RFC 4291, 2.7.1)
fn solicited_node() -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0), 104))
}
