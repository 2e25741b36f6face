//! What the fake kernel refuses, each with Linux's errno, and what it does by itself.

use netstate::{
    Kernel, Key, NetState, Object, Op, Plan,
    addr::{Addr, AddrKey},
    link::{Admin, BridgePort, Hairpin, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    nft::{
        Action, Base, Chain, ChainKey, ChainType, Datatype, Element, ElementData, ElementKey, Family, Field, Hook,
        Match, NatFamily, NatTarget, Policy, Rule, Set, SetData, SetKey, Span, Table, TableKey, Value,
    },
    route::{MAIN, Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};
use sim::Host;

fn netns(name: &str) -> NetnsName {
    if name == "host" { NetnsName::Host } else { NetnsName::named(name) }
}

fn key(inside: &str, name: &str) -> LinkKey {
    LinkKey { netns: netns(inside), name: name.parse().expect("short") }
}

fn link(kind: LinkKind) -> Link {
    Link { kind, mac: MacAddr([2, 0, 0, 0, 0, 1]), mtu: 1500, admin: Admin::Up, port: None, alias: None }
}

fn bridge() -> Link {
    link(LinkKind::Bridge)
}

fn veth(inside: &str, name: &str) -> Link {
    link(LinkKind::Veth { peer: key(inside, name), peer_mac: MacAddr([2, 0, 0, 0, 0, 2]) })
}

fn port_of(bridge: &str, link: Link) -> Link {
    Link { port: Some(BridgePort { bridge: bridge.parse().expect("short"), hairpin: Hairpin::Off }), ..link }
}

fn create(key: impl Into<Key>, object: impl Into<Object>) -> Op {
    Op::Create { key: key.into(), object: object.into() }
}

fn change(key: impl Into<Key>, to: impl Into<Object>) -> Op {
    let to = to.into();
    Op::Change { key: key.into(), from: to.clone(), to }
}

fn delete(key: impl Into<Key>) -> Op {
    Op::Delete { key: key.into(), object: Object::Addr(Addr {}), with: Default::default() }
}

fn addr(inside: &str, link: &str, address: &str) -> AddrKey {
    AddrKey { link: key(inside, link), address: address.parse().expect("an address") }
}

fn route(destination: &str, via: Option<&str>, device: &str) -> (RouteKey, Route) {
    let destination = destination.parse().expect("a network");
    let key = RouteKey { netns: NetnsName::Host, table: MAIN, destination, metric: 0 };
    (key, Route { device: device.parse().expect("short"), via: via.map(|via| via.parse().expect("an address")) })
}

fn create_route(destination: &str, via: Option<&str>, device: &str) -> Op {
    let (key, route) = route(destination, via, device);
    create(key, route)
}

fn table() -> TableKey {
    TableKey { netns: NetnsName::Host, family: Family::Inet }
}

fn set_key(name: &str) -> SetKey {
    SetKey { table: table(), name: name.to_owned() }
}

fn set(key: Vec<Datatype>, data: SetData) -> Set {
    Set { key, data, interval: true, filled: Default::default() }
}

fn element(set: &str, first: u16, last: u16) -> Op {
    let span = Span { first: Value::Port(first), last: Value::Port(last) };
    create(ElementKey { set: set_key(set).into(), key: [span].into() }, Element { data: ElementData::None })
}

fn chain_key(name: &str) -> ChainKey {
    ChainKey { table: table(), name: name.to_owned() }
}

fn chain(name: &str, matches: Vec<Match>, action: Action) -> Op {
    create(chain_key(name), Chain { base: None, rules: vec![Rule { name: "it".to_owned(), matches, action }] })
}

fn in_set(field: Field, set: &str) -> Vec<Match> {
    vec![Match::In { fields: vec![field], op: netstate::nft::Op::Eq, set: set.to_owned() }]
}

/// `br` with 10.0.0.1/24, `vh` in it whose peer is `eth0` in `ns`, `low` that is down, a table with a set of ports and two chains.
fn host() -> Host {
    let mut host = Host::new();
    let base = Base { kind: ChainType::Filter, hook: Hook::Forward, priority: 0, policy: Policy::Accept };
    let ops = vec![
        create(netns("ns"), Netns {}),
        create(key("host", "br"), bridge()),
        create(key("host", "vh"), port_of("br", veth("ns", "eth0"))),
        create(key("host", "low"), Link { admin: Admin::Down, ..bridge() }),
        create(addr("host", "br", "10.0.0.1/24"), Addr {}),
        create(addr("host", "br", "fd00::1/64"), Addr {}),
        create_route("192.168.0.0/24", Some("10.0.0.9"), "br"),
        create(table(), Table {}),
        create(set_key("ports"), set(vec![Datatype::InetService], SetData::None)),
        element("ports", 10, 19),
        chain("called", in_set(Field::Dport, "ports"), Action::Accept),
        chain("caller", vec![], Action::Jump("called".to_owned())),
        create(chain_key("base"), Chain { base: Some(base), rules: vec![] }),
    ];
    let report = host.apply(&Plan { ops });
    assert!(report.fault.is_none(), "{report:?}");
    host
}

#[test]
fn refusals() {
    let spare = |name: &str| key("host", name);
    let to = |port| NatTarget::To { address: [10, 0, 0, 2].into(), port };
    let map =
        NatTarget::Map { family: NatFamily::Ip, fields: vec![Field::Dport], map: "ports".into(), with_port: false };
    let one = |op: Op| vec![op];
    let cases = [
        ("a namespace twice", one(create(netns("ns"), Netns {})), libc::EEXIST),
        ("the host's namespace", one(delete(netns("host"))), libc::EBUSY),
        ("a link without namespace", one(create(key("gone", "a"), bridge())), libc::ENODEV),
        ("a link twice", one(create(key("host", "br"), bridge())), libc::EEXIST),
        ("loopback", one(create(key("ns", "lo"), bridge())), libc::EEXIST),
        ("a peer's name twice", one(create(spare("a"), veth("ns", "eth0"))), libc::EEXIST),
        ("a peer without namespace", one(create(spare("a"), veth("gone", "eth0"))), libc::ENODEV),
        ("a port of nothing", one(create(spare("a"), port_of("gone", veth("ns", "eth1")))), libc::ENODEV),
        (
            "a port of a bridge elsewhere",
            one(change(key("ns", "eth0"), port_of("br", link(LinkKind::VethPeer { of: spare("vh") })))),
            libc::ENODEV,
        ),
        ("a port of no bridge", one(create(spare("a"), port_of("vh", veth("ns", "eth1")))), libc::EOPNOTSUPP),
        ("a bridge in a bridge", one(create(spare("a"), port_of("br", bridge()))), libc::ELOOP),
        (
            "a second end alone",
            one(create(key("ns", "eth1"), link(LinkKind::VethPeer { of: spare("gone") }))),
            libc::ENODEV,
        ),
        ("another kind", one(change(spare("br"), veth("ns", "eth1"))), libc::EOPNOTSUPP),
        ("a change of nothing", one(change(spare("gone"), bridge())), libc::ENODEV),
        ("a small MTU", one(create(spare("a"), Link { mtu: 60, ..bridge() })), libc::EINVAL),
        ("a long alias", one(create(spare("a"), Link { alias: Some("x".repeat(256)), ..bridge() })), libc::EINVAL),
        ("a multicast MAC", one(create(spare("a"), Link { mac: MacAddr([1; 6]), ..bridge() })), libc::EADDRNOTAVAIL),
        ("an address on nothing", one(create(addr("host", "gone", "10.0.0.1/24"), Addr {})), libc::ENODEV),
        ("an address twice", one(create(addr("host", "br", "10.0.0.1/24"), Addr {})), libc::EEXIST),
        (
            "a setting of nothing",
            one(create(
                SysctlKey { netns: netns("host"), path: "net/ipv4/conf/gone/route_localnet".into() },
                Sysctl { value: "1".into() },
            )),
            libc::ENOENT,
        ),
        ("a route by nothing", one(create_route("10.9.0.0/16", None, "gone")), libc::ENODEV),
        ("a route by a link that is down", one(create_route("10.9.0.0/16", None, "low")), libc::ENETDOWN),
        ("a next hop nobody knows", one(create_route("10.9.0.0/16", Some("10.8.0.1"), "br")), libc::ENETUNREACH),
        ("itself as next hop", one(create_route("10.9.0.0/16", Some("10.0.0.1"), "br")), libc::EINVAL),
        ("a next hop of another family", one(create_route("10.9.0.0/16", Some("fd00::2"), "br")), libc::EINVAL),
        ("a route with host bits", one(create_route("10.9.0.1/16", None, "br")), libc::EINVAL),
        ("a route twice", one(create_route("192.168.0.0/24", None, "br")), libc::EEXIST),
        ("a route beside the address's", one(create_route("10.0.0.0/24", None, "br")), libc::EEXIST),
        ("a table twice", one(create(table(), Table {})), libc::EEXIST),
        (
            "a set without table",
            one(create(
                SetKey { table: TableKey { family: Family::Bridge, ..table() }, name: "s".into() },
                set(vec![Datatype::Mark], SetData::None),
            )),
            libc::ENOENT,
        ),
        ("a set twice", one(create(set_key("ports"), set(vec![Datatype::Mark], SetData::None))), libc::EEXIST),
        ("a long key", one(create(set_key("s"), set(vec![Datatype::IfName; 5], SetData::None))), libc::EINVAL),
        ("a set that is named", one(delete(set_key("ports"))), libc::EBUSY),
        ("a chain that is called", one(delete(chain_key("called"))), libc::EBUSY),
        ("an element without set", one(element("gone", 1, 1)), libc::ENOENT),
        ("an element that overlaps", one(element("ports", 19, 30)), libc::EEXIST),
        (
            "an element of another type",
            one(create(
                ElementKey { set: set_key("ports").into(), key: [Value::Mark(1).into()].into() },
                Element::default(),
            )),
            libc::EINVAL,
        ),
        ("an element backwards", one(element("ports", 9, 8)), libc::EINVAL),
        ("a rule on a missing set", one(chain("c", in_set(Field::Dport, "gone"), Action::Accept)), libc::ENOENT),
        (
            "a rule on a set of another type",
            one(chain("c", in_set(Field::Mark, "ports"), Action::Accept)),
            libc::EINVAL,
        ),
        ("a set as a map", one(chain("c", vec![], Action::Dnat(map))), libc::EINVAL),
        ("a call of nothing", one(chain("c", vec![], Action::Jump("gone".into()))), libc::ENOENT),
        ("a call of a base chain", one(chain("c", vec![], Action::Jump("base".into()))), libc::EOPNOTSUPP),
        (
            "a call of oneself",
            vec![
                chain("c", vec![], Action::Accept),
                change(
                    chain_key("c"),
                    Chain {
                        base: None,
                        rules: vec![Rule { name: "it".into(), matches: vec![], action: Action::Jump("c".into()) }],
                    },
                ),
            ],
            libc::ELOOP,
        ),
        ("a port of any protocol", one(chain("c", vec![], Action::Dnat(to(Some(80))))), libc::EINVAL),
        (
            "a translation in a filter",
            one(change(
                chain_key("base"),
                Chain {
                    base: Some(Base {
                        kind: ChainType::Filter,
                        hook: Hook::Forward,
                        priority: 0,
                        policy: Policy::Accept,
                    }),
                    rules: vec![Rule { name: "it".into(), matches: vec![], action: Action::Dnat(to(None)) }],
                },
            )),
            libc::EOPNOTSUPP,
        ),
        ("another hook", one(change(chain_key("base"), Chain { base: None, rules: vec![] })), libc::EEXIST),
        ("an address in place", one(change(addr("host", "br", "10.0.0.1/24"), Addr {})), libc::EOPNOTSUPP),
    ];
    for (name, ops, errno) in cases {
        let mut host = host();
        let before = all(&mut host);
        let report = host.apply(&Plan { ops });
        assert_eq!(report.fault.map(|fault| fault.errno), Some(errno), "{name}");
        assert_eq!(all(&mut host), before, "{name} left something");
    }
}

fn all(host: &mut Host) -> NetState {
    host.observe(&Default::default()).expect("the fake can always be observed")
}

/// What is left after the operations, as text without what was there before.
#[test]
fn what_linux_does_by_itself() {
    let second = || create(addr("host", "br", "10.0.0.2/24"), Addr {});
    let down = || change(key("host", "br"), Link { admin: Admin::Down, ..bridge() });
    let cases: [(&str, Vec<Op>, &[&str]); 7] = [
        (
            "a bridge leaves its ports",
            vec![delete(key("host", "br"))],
            &[
                "link host:br",
                "address host:br 10.0.0.1/24",
                "address host:br fd00::1/64",
                "route host:192.168.0.0/24 table 254 metric 0",
            ],
        ),
        ("an end takes the other", vec![delete(key("ns", "eth0"))], &["link host:vh", "link ns:eth0"]),
        ("a namespace takes both ends", vec![delete(netns("ns"))], &["netns ns", "link host:vh", "link ns:eth0"]),
        (
            "the primary address takes the others, the last one the routes",
            vec![second(), delete(addr("host", "br", "10.0.0.1/24"))],
            &["address host:br 10.0.0.1/24", "route host:192.168.0.0/24 table 254 metric 0"],
        ),
        ("a secondary address goes alone", vec![second(), delete(addr("host", "br", "10.0.0.2/24"))], &[]),
        (
            "a link set down loses routes and IPv6 addresses",
            vec![down()],
            &["address host:br fd00::1/64", "route host:192.168.0.0/24 table 254 metric 0"],
        ),
        (
            "what is gone can be removed",
            vec![delete(key("host", "gone")), delete(addr("host", "br", "10.9.0.1/24"))],
            &[],
        ),
    ];
    for (name, ops, gone) in cases {
        let mut host = host();
        let before = all(&mut host);
        let report = host.apply(&Plan { ops });
        assert!(report.fault.is_none(), "{name}: {report:?}");
        let after = all(&mut host);
        let lost: Vec<String> = before.objects.keys().filter(|key| !after.has(key)).map(ToString::to_string).collect();
        assert_eq!(lost, gone, "{name}");
    }
}

/// Neighbours in one table happen together or not at all; the rest happens one by one.
#[test]
fn a_table_is_a_transaction() {
    let mut host = host();
    let ops =
        vec![create(key("host", "new"), bridge()), element("ports", 1, 2), element("ports", 2, 3), delete(netns("ns"))];
    let report = host.apply(&Plan { ops });
    assert_eq!(
        (report.done, report.fault.map(|fault| fault.what)),
        (1, Some("create element host:inet linkspan ports 2-3".to_owned()))
    );
    let after = all(&mut host).to_string();
    assert!(after.contains("link host:new") && !after.contains("1-2") && after.contains("netns ns"), "{after}");
}
