//! Every shape of table, set, element, chain and rule, and short words for them.

use std::net::IpAddr;

use netstate::{
    NetState,
    netns::NetnsName,
    nft::{
        Action, Base, Chain, ChainKey, ChainType, CtState, CtStatus, Datatype, Element, ElementData, ElementKey,
        Family, Field, Filled, Hash, Hook, IcmpReject, MapKey, MapVerdict, Marking, Match, NatFamily, NatTarget, Op,
        Policy, Rule, Set, SetData, SetKey, Span, Table, TableKey, Value,
    },
};

use crate::common::net;

pub fn table(family: Family) -> TableKey {
    TableKey { netns: NetnsName::Host, family }
}

pub fn set_key(family: Family, name: &str) -> SetKey {
    SetKey { table: table(family), name: name.into() }
}

pub fn chain_key(family: Family, name: &str) -> ChainKey {
    ChainKey { table: table(family), name: name.into() }
}

pub fn put_set(state: &mut NetState, family: Family, name: &str, key: &[Datatype], data: &[Datatype], interval: bool) {
    let data = if data.is_empty() { SetData::None } else { SetData::Values(data.to_vec()) };
    state.put(set_key(family, name), Set { key: key.to_vec(), data, interval, filled: Default::default() });
}

pub fn put_element(state: &mut NetState, family: Family, set: &str, key: &[Span], data: &[Value]) {
    let data = if data.is_empty() { ElementData::None } else { ElementData::Values(data.iter().cloned().collect()) };
    let key = key.iter().cloned().collect();
    state.put(ElementKey { set: set_key(family, set).into(), key }, Element { data });
}

pub fn base(kind: ChainType, hook: Hook, priority: i32, policy: Policy) -> Option<Base> {
    Some(Base { kind, hook, priority, policy })
}

pub fn ip4(text: &str) -> Value {
    Value::Ipv4(text.parse().expect("an address"))
}

pub fn ip6(text: &str) -> Value {
    Value::Ipv6(text.parse().expect("an address"))
}

pub fn ports(first: u16, last: u16) -> Span {
    Span { first: Value::Port(first), last: Value::Port(last) }
}

pub fn is(field: Field, value: Value) -> Match {
    Match::Is { field, op: Op::Eq, value }
}

pub fn is_not(field: Field, value: Value) -> Match {
    Match::Is { field, op: Op::Ne, value }
}

pub fn within(field: Field, text: &str) -> Match {
    Match::Within { field, op: Op::Eq, net: net(text) }
}

pub fn in_set(fields: &[Field], op: Op, set: &str) -> Match {
    Match::In { fields: fields.to_vec(), op, set: set.into() }
}

pub fn rule(name: &str, matches: Vec<Match>, action: Action) -> Rule {
    Rule { name: name.into(), matches, action }
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Sets of every type, alone and concatenated, with and without ranges and data.
fn sets(state: &mut NetState) {
    use Datatype::{EtherType, IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
    let f = Family::Inet;
    state.put(table(f), Table {});
    let single = [
        ("t_a4", Ipv4Addr, ip4("10.0.0.1"), ip4("10.0.0.2")),
        ("t_a6", Ipv6Addr, ip6("fd00::1"), ip6("fd00::2")),
        ("t_proto", InetProto, Value::Proto(6), Value::Proto(17)),
        ("t_port", InetService, Value::Port(80), Value::Port(443)),
        ("t_ifname", IfName, Value::IfName("br0".into()), Value::IfName("docker0".into())),
        ("t_mark", Mark, Value::Mark(0x10), Value::Mark(0x6c00_0000)),
        ("t_ether", EtherType, Value::EtherType(0x0800), Value::EtherType(0x0806)),
    ];
    for (name, datatype, one, two) in single {
        put_set(state, f, name, &[datatype], &[], false);
        for value in [one, two] {
            put_element(state, f, name, &[value.into()], &[]);
        }
    }
    ranges(state);
    put_set(state, f, "pairs", &[IfName, IfName], &[], false);
    put_element(state, f, "pairs", &[Value::IfName("br0".into()).into(), Value::IfName("br1".into()).into()], &[]);
    put_set(state, f, "svc", &[Ipv4Addr, InetProto, InetService], &[Ipv4Addr, InetService], false);
    let key = [ip4("10.96.0.1").into(), Value::Proto(6).into(), Value::Port(443).into()];
    put_element(state, f, "svc", &key, &[ip4("172.17.0.2"), Value::Port(6443)]);
    put_set(state, f, "svc6", &[Ipv6Addr, InetProto, InetService], &[Ipv6Addr, InetService], false);
    let key = [ip6("fd00:96::1").into(), Value::Proto(17).into(), Value::Port(53).into()];
    put_element(state, f, "svc6", &key, &[ip6("fd00::2"), Value::Port(1053)]);
    put_set(state, f, "hosts", &[Ipv4Addr], &[Ipv4Addr], false);
    put_element(state, f, "hosts", &[ip4("192.0.2.1").into()], &[ip4("172.17.0.9")]);
    put_set(state, f, "marks", &[Ipv4Addr, InetService], &[Mark], false);
    put_element(state, f, "marks", &[ip4("192.0.2.1").into(), Value::Port(1).into()], &[Value::Mark(7)]);
}

/// Interval sets of one field (two elements in the kernel) and of several (one with an end).
fn ranges(state: &mut NetState) {
    use Datatype::{InetProto, InetService, Ipv4Addr, Ipv6Addr};
    let f = Family::Inet;
    put_set(state, f, "nets", &[Ipv4Addr], &[], true);
    for (first, last) in [
        ("0.0.0.0", "0.255.255.255"),
        ("10.0.0.0", "10.255.255.255"),
        ("11.0.0.0", "11.0.0.0"),
        ("240.0.0.0", "255.255.255.255"),
    ] {
        put_element(state, f, "nets", &[Span { first: ip4(first), last: ip4(last) }], &[]);
    }
    put_set(state, f, "nets6", &[Ipv6Addr], &[], true);
    put_element(
        state,
        f,
        "nets6",
        &[Span { first: ip6("fd00::"), last: ip6("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") }],
        &[],
    );
    put_set(state, f, "portmap", &[InetService], &[Ipv4Addr], true);
    for (first, last, to) in [(0, 0, "10.0.0.1"), (1, 79, "10.0.0.2"), (80, 80, "10.0.0.3"), (1000, 65535, "10.0.0.4")]
    {
        put_element(state, f, "portmap", &[ports(first, last)], &[ip4(to)]);
    }
    put_set(state, f, "published", &[Ipv4Addr, InetProto, InetService], &[Ipv4Addr], true);
    let any = Span { first: ip4("0.0.0.0"), last: ip4("255.255.255.255") };
    put_element(state, f, "published", &[any, Value::Proto(6).into(), ports(20000, 29999)], &[ip4("172.17.0.2")]);
    let key = [ip4("127.0.0.1").into(), Value::Proto(17).into(), ports(53, 53)];
    put_element(state, f, "published", &key, &[ip4("172.17.0.3")]);
    put_set(state, f, "published6", &[Ipv6Addr, InetProto, InetService], &[Ipv6Addr, InetService], true);
    let key = [ip6("::1").into(), Value::Proto(6).into(), ports(80, 90)];
    put_element(state, f, "published6", &key, &[ip6("fd00::2"), Value::Port(80)]);
}

/// Rules of every match and every action, in base chains of every hook.
fn chains(state: &mut NetState) {
    let f = Family::Inet;
    let tcp = || is(Field::L4Proto, Value::Proto(6));
    let put = |state: &mut NetState, name: &str, base: Option<Base>, rules: Vec<Rule>| {
        state.put(chain_key(f, name), Chain { base, rules });
    };
    let matches: Vec<(&str, Vec<Match>)> = vec![
        ("iifname", vec![is(Field::IifName, Value::IfName("br0".into()))]),
        ("not oifname", vec![is_not(Field::OifName, Value::IfName("br0".into()))]),
        ("saddr", vec![is(Field::Ip4Saddr, ip4("10.0.0.1"))]),
        ("not daddr", vec![is_not(Field::Ip4Daddr, ip4("10.0.0.1"))]),
        ("both addresses", vec![is(Field::Ip4Saddr, ip4("10.0.0.1")), is(Field::Ip4Daddr, ip4("10.0.0.2"))]),
        ("saddr6", vec![is(Field::Ip6Saddr, ip6("fd00::1"))]),
        ("not daddr6", vec![is_not(Field::Ip6Daddr, ip6("fd00::1"))]),
        ("l4proto", vec![tcp()]),
        ("not l4proto", vec![is_not(Field::L4Proto, Value::Proto(132))]),
        ("th ports", vec![is(Field::Sport, Value::Port(53)), is_not(Field::Dport, Value::Port(80))]),
        ("tcp port", vec![tcp(), is(Field::Dport, Value::Port(80))]),
        ("mark", vec![is(Field::Mark, Value::Mark(0x6c)), is_not(Field::Mark, Value::Mark(1))]),
        ("network", vec![within(Field::Ip4Saddr, "10.0.0.0/8"), within(Field::Ip4Daddr, "192.168.4.0/22")]),
        ("host network", vec![within(Field::Ip4Saddr, "10.1.2.3/32")]),
        ("any network", vec![within(Field::Ip4Saddr, "0.0.0.0/0")]),
        ("not network", vec![Match::Within { field: Field::Ip4Daddr, op: Op::Ne, net: net("127.0.0.0/8") }]),
        ("network6", vec![within(Field::Ip6Saddr, "fd00::/8"), within(Field::Ip6Daddr, "2001:db8::/47")]),
        ("in", vec![in_set(&[Field::Ip4Daddr], Op::Eq, "t_a4"), in_set(&[Field::Ip4Saddr], Op::Ne, "nets")]),
        ("in6", vec![in_set(&[Field::Ip6Daddr], Op::Eq, "nets6"), in_set(&[Field::Ip6Saddr], Op::Ne, "t_a6")]),
        ("in one field", vec![in_set(&[Field::L4Proto], Op::Eq, "t_proto"), in_set(&[Field::Dport], Op::Eq, "t_port")]),
        (
            "in links",
            vec![in_set(&[Field::IifName], Op::Eq, "t_ifname"), in_set(&[Field::OifName], Op::Ne, "t_ifname")],
        ),
        ("in mark", vec![in_set(&[Field::Mark], Op::Eq, "t_mark")]),
        ("in pairs", vec![in_set(&[Field::IifName, Field::OifName], Op::Eq, "pairs")]),
        ("in map", vec![in_set(&[Field::Ip4Daddr, Field::L4Proto, Field::Dport], Op::Eq, "svc")]),
        ("not in ranges", vec![in_set(&[Field::Ip4Daddr, Field::L4Proto, Field::Dport], Op::Ne, "published")]),
        ("ct state", vec![Match::CtState(vec![CtState::Established, CtState::Related])]),
        ("ct state one", vec![Match::CtState(vec![CtState::Invalid])]),
        (
            "ct states",
            vec![Match::CtState(vec![CtState::New, CtState::Invalid, CtState::Established, CtState::Related])],
        ),
        ("ct status", vec![Match::CtStatus(CtStatus::Dnat)]),
        ("mark", vec![Match::Marked { value: 7, mask: u32::MAX }]),
        ("some bits of the mark", vec![Match::Marked { value: 0x100, mask: 0xff00 }]),
        ("fib", vec![Match::FibDaddrLocal]),
        ("everything", vec![]),
    ];
    let accept = |(name, matches): (&str, Vec<Match>)| rule(name, matches, Action::Accept);
    put(state, "matches", None, matches.into_iter().map(accept).collect());

    let verdicts = vec![
        rule("a \"quoted\" name", vec![], Action::Jump("matches".into())),
        rule("drop", vec![is(Field::Mark, Value::Mark(1))], Action::Drop),
        rule("refuse tcp", vec![tcp()], Action::Reject(IcmpReject::AdminProhibited)),
        rule("refuse udp", vec![is(Field::L4Proto, Value::Proto(17))], Action::Reject(IcmpReject::PortUnreachable)),
        rule(
            "refuse all of a network",
            vec![within(Field::Ip4Saddr, "10.0.0.0/8")],
            Action::Reject(IcmpReject::PortUnreachable),
        ),
        rule(
            "refuse a network6",
            vec![within(Field::Ip6Saddr, "fd00::/8")],
            Action::Reject(IcmpReject::AdminProhibited),
        ),
        rule("refuse all", vec![], Action::Reject(IcmpReject::AdminProhibited)),
        rule("twice", vec![tcp()], Action::Return),
        rule("twice", vec![tcp()], Action::Return),
    ];
    put(state, "forward", base(ChainType::Filter, Hook::Forward, 0, Policy::Drop), verdicts);
    put(state, "input", base(ChainType::Filter, Hook::Input, -10, Policy::Accept), vec![]);
    put(state, "raw", base(ChainType::Filter, Hook::Prerouting, -300, Policy::Accept), vec![]);
    nat_chains(state);
}

fn nat_chains(state: &mut NetState) {
    let f = Family::Inet;
    let tcp = || is(Field::L4Proto, Value::Proto(6));
    let to = |text: &str, port| NatTarget::To { address: address(text), port };
    let map = |family, fields: &[Field], map: &str, with_port| NatTarget::Map {
        family,
        fields: fields.to_vec(),
        map: map.into(),
        with_port,
    };
    let service4 = [Field::Ip4Daddr, Field::L4Proto, Field::Dport];
    let service6 = [Field::Ip6Daddr, Field::L4Proto, Field::Dport];
    let dnat = vec![
        rule("dnat", vec![is(Field::Ip4Daddr, ip4("192.0.2.1"))], Action::Dnat(to("10.0.0.2", None))),
        rule("dnat port", vec![tcp(), is(Field::Dport, Value::Port(8080))], Action::Dnat(to("10.0.0.2", Some(80)))),
        rule("dnat6", vec![], Action::Dnat(to("fd00::2", None))),
        rule("dnat6 port", vec![tcp()], Action::Dnat(to("fd00::2", Some(80)))),
        rule(
            "dnat map",
            vec![Match::FibDaddrLocal],
            Action::Dnat(map(NatFamily::Ip, &[Field::Ip4Daddr], "hosts", false)),
        ),
        rule("dnat map port", vec![], Action::Dnat(map(NatFamily::Ip, &service4, "svc", true))),
        rule("dnat map port6", vec![], Action::Dnat(map(NatFamily::Ip6, &service6, "svc6", true))),
        rule(
            "dnat ranges",
            vec![Match::FibDaddrLocal],
            Action::Dnat(map(NatFamily::Ip, &service4, "published", false)),
        ),
        rule("dnat ranges6", vec![tcp()], Action::Dnat(map(NatFamily::Ip6, &service6, "published6", true))),
        rule("dnat one range", vec![tcp()], Action::Dnat(map(NatFamily::Ip, &[Field::Dport], "portmap", false))),
        rule("redirect", vec![tcp(), is(Field::Dport, Value::Port(53))], Action::Redirect { port: 41053 }),
    ];
    let snat = vec![
        rule("snat", vec![within(Field::Ip4Saddr, "10.0.0.0/8")], Action::Snat(to("192.0.2.1", None))),
        rule("snat port", vec![is(Field::L4Proto, Value::Proto(17))], Action::Snat(to("192.0.2.1", Some(53)))),
        rule("snat6", vec![], Action::Snat(to("2001:db8::1", None))),
        rule("snat map", vec![], Action::Snat(map(NatFamily::Ip, &[Field::Ip4Saddr], "hosts", false))),
        rule("masquerade", vec![is_not(Field::OifName, Value::IfName("br0".into()))], Action::Masquerade),
    ];
    for (name, hook, priority, rules) in [
        ("prerouting", Hook::Prerouting, -100, dnat.clone()),
        ("output", Hook::Output, -100, dnat),
        ("postrouting", Hook::Postrouting, 100, snat),
    ] {
        state.put(chain_key(f, name), Chain { base: base(ChainType::Nat, hook, priority, Policy::Accept), rules });
    }
}

pub fn bridge_table(state: &mut NetState) {
    let f = Family::Bridge;
    state.put(table(f), Table {});
    put_set(state, f, "isolated", &[Datatype::IfName], &[], false);
    put_element(state, f, "isolated", &[Value::IfName("br0".into()).into()], &[]);
    let rules = vec![
        rule("arp", vec![is(Field::EtherType, Value::EtherType(0x0806))], Action::Accept),
        rule(
            "frames of ip",
            vec![is(Field::EtherType, Value::EtherType(0x0800)), is(Field::Ip4Saddr, ip4("10.0.0.1"))],
            Action::Accept,
        ),
        rule("ip in a frame", vec![is(Field::Ip4Daddr, ip4("10.0.0.1"))], Action::Accept),
        rule("ip6 in a frame", vec![within(Field::Ip6Daddr, "fd00::/8")], Action::Drop),
        rule("in", vec![in_set(&[Field::IifName], Op::Eq, "isolated")], Action::Drop),
        rule(
            "ports",
            vec![
                is(Field::IifName, Value::IfName("v1".into())),
                is(Field::L4Proto, Value::Proto(6)),
                is(Field::Dport, Value::Port(80)),
            ],
            Action::Return,
        ),
    ];
    state
        .put(chain_key(f, "forward"), Chain { base: base(ChainType::Filter, Hook::Forward, 0, Policy::Accept), rules });
}

pub fn everything() -> NetState {
    let mut state = NetState::default();
    sets(&mut state);
    chains(&mut state);
    services(&mut state);
    bridge_table(&mut state);
    state
}

/// What leads to one of several: a mark from a map, verdicts by mark, random numbers, maps that packets fill.
fn services(state: &mut NetState) {
    use Datatype::{InetProto, InetService, Ipv4Addr, Ipv6Addr, Mark};
    let f = Family::Inet;
    let tcp = || Value::Proto(6).into();
    let families = [
        ("4", NatFamily::Ip, Ipv4Addr, [Field::Ip4Saddr, Field::Ip4Daddr], ip4("10.96.0.1")),
        ("6", NatFamily::Ip6, Ipv6Addr, [Field::Ip6Saddr, Field::Ip6Daddr], ip6("fd00:96::1")),
    ];
    let (mut dispatch, mut spread, mut sticky) = (Vec::new(), Vec::new(), Vec::new());
    for (n, family, kind, [saddr, daddr], vip) in families {
        let (front, ends, known) = (format!("front{n}"), format!("ends{n}"), format!("known{n}"));
        put_set(state, f, &front, &[kind, InetProto, InetService], &[Mark], false);
        put_set(state, f, &ends, &[kind, InetProto, InetService, Mark], &[kind, InetService], false);
        let key = if family == NatFamily::Ip { vec![kind, kind, InetProto, InetService] } else { vec![Mark] };
        let data = SetData::Values(vec![Mark]);
        state.put(set_key(f, &known), Set { key, data, interval: false, filled: Filled::ByPackets });
        let service = [vip.clone().into(), tcp(), ports(443, 443)];
        put_element(state, f, &front, &service, &[Value::Mark(0x8000_0003)]);
        for slot in 0..3 {
            let key = [&service[..], &[Value::Mark(0x4000_0000 + slot).into()]].concat();
            put_element(state, f, &ends, &key, &[vip.clone(), Value::Port(6443)]);
        }
        let asked = [daddr, Field::L4Proto, Field::Dport];
        let client = [&[saddr][..], &asked].concat();
        let found = |fields: &[Field], map: &str| {
            Match::SetMark(Marking::Found { fields: fields.to_vec(), map: map.to_owned() })
        };
        let random = || Match::SetMark(Marking::Random { modulus: 3, offset: 0x4000_0000 });
        let to = || {
            let fields = [&asked[..], &[Field::Mark]].concat();
            Action::Dnat(NatTarget::Map { family, fields, map: ends.clone(), with_port: true })
        };
        let hash = || Hash { fields: client.clone(), modulus: u32::MAX, seed: 1, offset: 0 };
        let key = || match family {
            NatFamily::Ip => MapKey::Fields(client.clone()),
            NatFamily::Ip6 => MapKey::Hash(hash()),
        };
        let again = match family {
            NatFamily::Ip => vec![found(&client, &known)],
            NatFamily::Ip6 => vec![Match::SetMark(Marking::Hash(hash())), found(&[Field::Mark], &known)],
        };
        let remember = || Match::Remember { key: key(), map: known.clone(), timeout_s: 10_800 };
        let forget = Match::Forget { key: key(), map: known.clone() };
        dispatch.push(rule("service", vec![found(&asked, &front)], Action::VerdictOfMark { map: "spread".into() }));
        spread.push(rule("one of 3", vec![random()], to()));
        sticky.push(rule("the same again", [again, vec![remember()]].concat(), to()));
        sticky.push(rule("one of 3", vec![forget, random(), remember()], to()));
    }
    let verdicts = Set { key: vec![Mark], data: SetData::Verdict, interval: false, filled: Filled::ByUs };
    state.put(set_key(f, "spread"), verdicts);
    let jump = |chain: &str| MapVerdict::Jump(chain.into());
    for (mark, verdict) in [(3, jump("spread_3")), (0x1000_0003, jump("sticky_3")), (0, MapVerdict::Drop)] {
        let key = [Value::Mark(0x8000_0000 | mark).into()].into();
        let key = ElementKey { set: set_key(f, "spread").into(), key };
        state.put(key, Element { data: ElementData::Verdict(verdict) });
    }
    for (name, rules) in [("services", dispatch), ("spread_3", spread), ("sticky_3", sticky)] {
        state.put(chain_key(f, name), Chain { base: None, rules });
    }
    let rules = vec![rule("services", vec![], Action::Jump("services".into()))];
    let base = base(ChainType::Nat, Hook::Prerouting, -90, Policy::Accept);
    state.put(chain_key(f, "ask"), Chain { base, rules });
}
