//! The host of most tests: two networks, three containers, one published port and a range of them.

use netstate::{
    NetState,
    addr::{Addr, AddrKey},
    link::{Admin, BridgePort, Hairpin, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    nft::{
        Action, Base, Chain, ChainKey, ChainType, CtState, CtStatus, Datatype, Element, ElementData, ElementKey,
        Family, Field, Hook, IcmpReject, Match, NatFamily, NatTarget, Op, Policy, Rule, Set, SetData, SetKey, Span,
        Table, TableKey, Value,
    },
    route::{MAIN, Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
    trace::Surroundings,
};

pub fn netns(name: &str) -> NetnsName {
    if name == "host" { NetnsName::Host } else { NetnsName::named(name) }
}

pub fn link(netns_: &str, name: &str) -> LinkKey {
    LinkKey { netns: netns(netns_), name: name.parse().expect("short") }
}

pub fn table(family: Family) -> TableKey {
    TableKey { netns: NetnsName::Host, family }
}

pub fn rule(name: &str, matches: Vec<Match>, action: Action) -> Rule {
    Rule { name: name.to_owned(), matches, action }
}

pub fn is(field: Field, value: Value) -> Match {
    Match::Is { field, op: Op::Eq, value }
}

pub fn name(name: &str) -> Value {
    Value::IfName(name.to_owned())
}

fn is_not(field: Field, value: Value) -> Match {
    Match::Is { field, op: Op::Ne, value }
}

fn within(field: Field, net: &str) -> Match {
    Match::Within { field, op: Op::Eq, net: net.parse().expect("a network") }
}

/// A state that is being put together.
#[derive(Default)]
pub struct Builder(pub NetState);

impl Builder {
    pub fn bridge(&mut self, name: &str, number: u8, addresses: &[&str]) -> &mut Self {
        let key = link("host", name);
        let link = Link {
            kind: LinkKind::Bridge,
            mac: MacAddr([2, 0x42, 0, 0, 0, number]),
            mtu: 1500,
            admin: Admin::Up,
            port: None,
            alias: Some(format!("linkspan:network/{name}")),
        };
        self.0.put(key.clone(), link);
        self.addrs(&key, addresses)
    }

    pub fn pair(
        &mut self,
        name: &str,
        (inside, inner): (&str, &str),
        bridge: Option<&str>,
        addresses: &[&str],
    ) -> &mut Self {
        let (key, peer) = (link("host", name), link(inside, inner));
        let number = addresses.iter().flat_map(|address| address.bytes()).fold(0_u8, u8::wrapping_add);
        let (mac, peer_mac) = (MacAddr([2, 1, 0, 0, 0, number]), MacAddr([2, 2, 0, 0, 0, number]));
        let port = bridge.map(|bridge| BridgePort { bridge: bridge.parse().expect("short"), hairpin: Hairpin::Off });
        let alias = Some(format!("linkspan:endpoint/{name}"));
        let kind = LinkKind::Veth { peer: peer.clone(), peer_mac };
        self.0.put(netns(inside), Netns {});
        self.0.put(key.clone(), Link { kind, mac, mtu: 1500, admin: Admin::Up, port, alias });
        let kind = LinkKind::VethPeer { of: key };
        self.0.put(peer.clone(), Link { kind, mac: peer_mac, mtu: 1500, admin: Admin::Up, port: None, alias: None });
        self.addrs(&peer, addresses)
    }

    pub fn addrs(&mut self, link: &LinkKey, addresses: &[&str]) -> &mut Self {
        for address in addresses {
            self.0.put(AddrKey { link: link.clone(), address: address.parse().expect("an address") }, Addr {});
        }
        self
    }

    pub fn route(&mut self, inside: &str, destination: &str, via: Option<&str>, device: &str) -> &mut Self {
        let destination = destination.parse().expect("a network");
        let key = RouteKey { netns: netns(inside), table: MAIN, destination, metric: 0 };
        let via = via.map(|via| via.parse().expect("an address"));
        self.0.put(key, Route { device: device.parse().expect("short"), via });
        self
    }

    pub fn sysctl(&mut self, path: &str, value: &str) -> &mut Self {
        self.0.put(SysctlKey { netns: NetnsName::Host, path: path.to_owned() }, Sysctl { value: value.to_owned() });
        self
    }

    pub fn set(&mut self, name: &str, key: Vec<Datatype>, data: SetData, interval: bool) -> &mut Self {
        self.0.put(
            SetKey { table: table(Family::Inet), name: name.to_owned() },
            Set { key, data, interval, filled: Default::default() },
        );
        self
    }

    pub fn element(&mut self, set: &str, key: Vec<Span>, data: ElementData) -> &mut Self {
        let set = SetKey { table: table(Family::Inet), name: set.to_owned() }.into();
        self.0.put(ElementKey { set, key: key.into_iter().collect() }, Element { data });
        self
    }

    pub fn chain(&mut self, family: Family, name: &str, base: Option<Base>, rules: Vec<Rule>) -> &mut Self {
        self.0.put(ChainKey { table: table(family), name: name.to_owned() }, Chain { base, rules });
        self
    }
}

pub fn base(kind: ChainType, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority, policy: Policy::Accept })
}

pub fn port_span(first: u16, last: u16) -> Span {
    Span { first: Value::Port(first), last: Value::Port(last) }
}

/// `docker0` with web and db, `br-back` with web and job (who may not talk to each other), and `alone` with no network.
pub fn host() -> NetState {
    let mut it = Builder::default();
    it.0.put(netns("alone"), Netns {});
    it.bridge("docker0", 1, &["172.17.0.1/16", "fd00:17::1/64"]).bridge("br-back", 2, &["172.18.0.1/16"]);
    it.pair("veth-web", ("web", "eth0"), Some("docker0"), &["172.17.0.2/16", "fd00:17::2/64"]);
    it.pair("veth-db", ("db", "eth0"), Some("docker0"), &["172.17.0.3/16"]);
    it.pair("veth-webback", ("web", "eth1"), Some("br-back"), &["172.18.0.2/16"]);
    it.pair("veth-job", ("job", "eth0"), Some("br-back"), &["172.18.0.3/16"]);
    it.route("web", "0.0.0.0/0", Some("172.17.0.1"), "eth0").route("web", "::/0", Some("fd00:17::1"), "eth0");
    it.route("db", "0.0.0.0/0", Some("172.17.0.1"), "eth0").route("job", "0.0.0.0/0", Some("172.18.0.1"), "eth0");
    it.sysctl("net/ipv4/ip_forward", "1").sysctl("net/ipv4/conf/docker0/route_localnet", "1");
    translations(&mut it);
    filters(&mut it);
    it.0
}

fn translations(it: &mut Builder) {
    it.0.put(table(Family::Inet), Table {});
    let data = SetData::Values(vec![Datatype::Ipv4Addr, Datatype::InetService]);
    it.set("ports", vec![Datatype::InetProto, Datatype::InetService], data, true);
    let to = |port| ElementData::Values([Value::Ipv4([172, 17, 0, 2].into()), Value::Port(port)].into());
    it.element("ports", vec![Value::Proto(6).into(), port_span(8080, 8080)], to(80));
    it.element("ports", vec![Value::Proto(17).into(), port_span(9000, 9099)], to(53));
    let fields = vec![Field::L4Proto, Field::Dport];
    let target = NatTarget::Map { family: NatFamily::Ip, fields, map: "ports".to_owned(), with_port: true };
    // One rule for each protocol: nft reads a translation to a port by a map of ranges only behind a match on the protocol.
    let of = |proto| vec![Match::FibDaddrLocal, is(Field::L4Proto, Value::Proto(proto))];
    let publish = || [6, 17].map(|proto| rule("published ports", of(proto), Action::Dnat(target.clone()))).to_vec();
    it.chain(Family::Inet, "prerouting", base(ChainType::Nat, Hook::Prerouting, -100), publish());
    it.chain(Family::Inet, "output", base(ChainType::Nat, Hook::Output, -100), publish());
    let to_docker0 = || is(Field::OifName, name("docker0"));
    let masquerade = |name: &str, matches| rule(name, matches, Action::Masquerade);
    let rules = vec![
        masquerade(
            "outside of docker0",
            vec![within(Field::Ip4Saddr, "172.17.0.0/16"), is_not(Field::OifName, name("docker0"))],
        ),
        masquerade(
            "outside of br-back",
            vec![within(Field::Ip4Saddr, "172.18.0.0/16"), is_not(Field::OifName, name("br-back"))],
        ),
        masquerade(
            "a container to its own port",
            vec![Match::CtStatus(CtStatus::Dnat), is(Field::IifName, name("docker0")), to_docker0()],
        ),
        masquerade("loopback to a port", vec![within(Field::Ip4Saddr, "127.0.0.0/8"), to_docker0()]),
    ];
    it.chain(Family::Inet, "postrouting", base(ChainType::Nat, Hook::Postrouting, 100), rules);
}

fn filters(it: &mut Builder) {
    it.set("bridges", vec![Datatype::IfName], SetData::None, false);
    for bridge in ["docker0", "br-back"] {
        it.element("bridges", vec![name(bridge).into()], ElementData::None);
    }
    let on_bridge = |field| Match::In { fields: vec![field], op: Op::Eq, set: "bridges".to_owned() };
    let rules = vec![
        rule("answers", vec![Match::CtState(vec![CtState::Established, CtState::Related])], Action::Accept),
        rule("published ports", vec![Match::CtStatus(CtStatus::Dnat)], Action::Accept),
        rule("from containers", vec![on_bridge(Field::IifName)], Action::Jump("containers".to_owned())),
        rule("not published", vec![on_bridge(Field::OifName)], Action::Drop),
    ];
    it.chain(Family::Inet, "forward", base(ChainType::Filter, Hook::Forward, 0), rules);
    let reject = Action::Reject(IcmpReject::AdminProhibited);
    let same = vec![is(Field::IifName, name("docker0")), is(Field::OifName, name("docker0"))];
    let rules = vec![
        rule("one network", same, Action::Return),
        rule("other networks", vec![on_bridge(Field::OifName)], reject),
    ];
    it.chain(Family::Inet, "containers", None, rules);
    it.0.put(table(Family::Bridge), Table {});
    let rules = vec![rule("no talk on br-back", vec![is(Field::IifName, name("veth-webback"))], Action::Drop)];
    it.chain(Family::Bridge, "forward", base(ChainType::Filter, Hook::Forward, 0), rules);
}

/// An uplink with a default route.
pub fn around() -> Surroundings {
    let uplink = link("host", "eth0");
    let mut around = Surroundings::default();
    for address in ["192.0.2.10/24", "192.0.2.11/24"] {
        around.addrs.insert(AddrKey { link: uplink.clone(), address: address.parse().expect("an address") });
    }
    let key = RouteKey {
        netns: NetnsName::Host,
        table: MAIN,
        destination: "0.0.0.0/0".parse().expect("a network"),
        metric: 0,
    };
    around.routes.insert(key, Route { device: uplink.name, via: Some([192, 0, 2, 1].into()) });
    around
}
