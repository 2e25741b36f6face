//! Plausible states at random: few names, so that two of them differ in every way one object can.

use std::{collections::BTreeSet, fmt};

use ipnet::IpNet;
use netstate::{
    Key, NetState,
    addr::{Addr, AddrKey},
    link::{Admin, BridgePort, Hairpin, IfName, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    nft::{
        Action, Base, Chain, ChainKey, ChainType, Datatype, Element, ElementData, ElementKey, Family, Field, Hook,
        MapVerdict, Match, NatFamily, NatTarget, Op, Policy, Rule, Set, SetData, SetKey, Span, Table, TableKey, Value,
    },
    route::{MAIN, Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};
use proptest::{collection::vec, prelude::*};

/// A state that is shown as text when a test fails.
pub struct Wished(pub NetState);

impl fmt::Debug for Wished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

/// A state that a real plan could wish.
pub fn state() -> impl Strategy<Value = Wished> {
    let links = (vec(bridge(), 0..3), vec(pair(), 0..5));
    let routes = vec((0..6_u8, 0..3_u8, any::<bool>()), 0..4);
    let verdicts = proptest::option::of(vec((0..2_u8, proptest::option::weighted(0.8, 0..4_u8)), 0..3));
    let table = (vec(set(), 0..3), vec(element(), 0..6), verdicts, vec(chain(), 0..4), any::<bool>());
    let table = proptest::option::weighted(0.8, table);
    (links, routes, table).prop_map(|((bridges, pairs), routes, table)| {
        let mut wish = Wish::default();
        bridges.iter().for_each(|bridge| wish.bridge(bridge));
        pairs.iter().for_each(|pair| wish.pair(pair));
        routes.iter().for_each(|route| wish.route(*route));
        if let Some((sets, elements, verdicts, chains, upward)) = &table {
            wish.table((sets, elements, verdicts.as_deref()), chains, *upward);
        }
        Wished(wish.state)
    })
}

#[derive(Clone, Debug)]
struct Bridge {
    name: u8,
    mtu: u32,
    up: bool,
    addrs: Vec<(bool, u8, u8)>,
    setting: Option<u8>,
}

#[derive(Clone, Debug)]
struct Pair {
    name: u8,
    netns: u8,
    inner: u8,
    master: Option<u8>,
    mac: u8,
    mtu: u32,
    up: bool,
    addrs: Vec<(bool, u8, u8)>,
}

fn addrs() -> impl Strategy<Value = Vec<(bool, u8, u8)>> {
    vec((prop::bool::weighted(0.3), 0..2_u8, 1..4_u8), 0..3)
}

fn mtu() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1500_u32), Just(1400)]
}

fn bridge() -> impl Strategy<Value = Bridge> {
    (0..3_u8, mtu(), prop::bool::weighted(0.8), addrs(), proptest::option::of(0..2_u8))
        .prop_map(|(name, mtu, up, addrs, setting)| Bridge { name, mtu, up, addrs, setting })
}

fn pair() -> impl Strategy<Value = Pair> {
    (0..4_u8, 0..3_u8, 0..2_u8, proptest::option::of(0..3_u8), 0..2_u8, mtu(), prop::bool::weighted(0.8), addrs())
        .prop_map(|(name, netns, inner, master, mac, mtu, up, addrs)| Pair {
            name,
            netns,
            inner,
            master,
            mac,
            mtu,
            up,
            addrs,
        })
}

type SetWish = (u8, u8);

/// A set's name, and which definition it has.
fn set() -> impl Strategy<Value = SetWish> {
    (0..3_u8, 0..3_u8)
}

/// Set, first port, length, data.
type ElementWish = (u8, u16, u16, u8);

fn element() -> impl Strategy<Value = ElementWish> {
    (0..3_u8, 0..6_u16, 0..3_u16, 0..2_u8)
}

/// Mark, and the chain that it calls if any.
type VerdictWish = (u8, Option<u8>);

/// Sets, their elements, and the elements of the map of verdicts if there is one.
type SetsWish<'w> = (&'w [SetWish], &'w [ElementWish], Option<&'w [VerdictWish]>);

/// Name, hook if any, rules as (looks in set, calls chain).
type ChainWish = (u8, Option<u8>, Vec<RuleWish>);
type RuleWish = (Option<u8>, Option<u8>);

fn chain() -> impl Strategy<Value = ChainWish> {
    let rule = (proptest::option::of(0..3_u8), proptest::option::of(0..4_u8));
    (0..4_u8, proptest::option::weighted(0.3, 0..3_u8), vec(rule, 0..3))
}

#[derive(Default)]
struct Wish {
    state: NetState,
    /// A network is on one link of a namespace only.
    networks: BTreeSet<(NetnsName, IpNet)>,
}

fn name(name: String) -> IfName {
    name.parse().expect("short")
}

fn host(name: IfName) -> LinkKey {
    LinkKey { netns: NetnsName::Host, name }
}

fn admin(up: bool) -> Admin {
    if up { Admin::Up } else { Admin::Down }
}

impl Wish {
    fn bridge(&mut self, wish: &Bridge) {
        // Bridges and pairs share names, so that one may turn into the other.
        let key = host(name(format!("l{}", wish.name)));
        let link = Link {
            kind: LinkKind::Bridge,
            mac: MacAddr([2, 0, 0, 0, 0, wish.name + 1]),
            mtu: wish.mtu,
            admin: admin(wish.up),
            port: None,
            alias: Some(format!("linkspan:network/{}", wish.name)),
        };
        self.state.put(key.clone(), link);
        self.addrs(&key, &wish.addrs);
        if let Some(value) = wish.setting {
            let path = format!("net/ipv4/conf/{}/route_localnet", key.name);
            self.state.put(SysctlKey { netns: NetnsName::Host, path }, Sysctl { value: value.to_string() });
        }
    }

    fn pair(&mut self, wish: &Pair) {
        let netns = NetnsName::named(format!("ns{}", wish.netns));
        let key = host(name(format!("l{}", wish.name)));
        let peer = LinkKey { netns: netns.clone(), name: name(format!("eth{}", wish.inner)) };
        if self.state.link(&key).is_some() || self.state.link(&peer).is_some() {
            return;
        }
        self.state.put(netns, Netns {});
        let master = wish.master.map(|id| name(format!("l{id}")));
        let is_bridge =
            |id: &IfName| self.state.link(&host(id.clone())).is_some_and(|link| link.kind == LinkKind::Bridge);
        let peer_mac = MacAddr([2, 1, 0, 0, 0, wish.mac]);
        let first = Link {
            kind: LinkKind::Veth { peer: peer.clone(), peer_mac },
            mac: MacAddr([2, 2, 0, 0, 0, wish.mac]),
            mtu: wish.mtu,
            admin: Admin::Up,
            port: master.filter(is_bridge).map(|bridge| BridgePort { bridge, hairpin: Hairpin::Off }),
            alias: Some(format!("linkspan:endpoint/{}", wish.name)),
        };
        let of = key.clone();
        let second = Link {
            kind: LinkKind::VethPeer { of },
            mac: peer_mac,
            mtu: wish.mtu,
            admin: admin(wish.up),
            port: None,
            alias: None,
        };
        self.state.put(key, first);
        self.state.put(peer.clone(), second);
        self.addrs(&peer, &wish.addrs);
    }

    fn addrs(&mut self, link: &LinkKey, addrs: &[(bool, u8, u8)]) {
        for (ipv6, network, host) in addrs {
            let address: IpNet =
                if *ipv6 { format!("fd00:{network}::{host}/64") } else { format!("10.0.{network}.{host}/24") }
                    .parse()
                    .expect("an address");
            let here = self.state.addrs(link).any(|addr| addr.address.trunc() == address.trunc());
            if here || self.networks.insert((link.netns.clone(), address.trunc())) {
                self.state.put(AddrKey { link: link.clone(), address }, Addr {});
            }
        }
    }

    /// A route by one of the links that are up: onto the link, or by a next hop in its first network.
    fn route(&mut self, (which, destination, next_hop): (u8, u8, bool)) {
        let up: Vec<LinkKey> = self
            .state
            .objects
            .keys()
            .filter_map(|key| match key {
                Key::Link(key) if self.state.link(key).is_some_and(|link| link.admin == Admin::Up) => Some(key.clone()),
                _ => None,
            })
            .collect();
        let Some(link) = up.get(usize::from(which)) else { return };
        let network = self.state.addrs(link).map(|addr| addr.address).next();
        let (destination, via, metric) = match (next_hop, network) {
            (true, Some(IpNet::V4(net))) => {
                let via = format!("10.0.{}.200", net.addr().octets()[2]);
                (format!("192.168.{destination}.0/24"), Some(via), 0)
            }
            (true, Some(IpNet::V6(net))) => {
                let via = format!("fd00:{}::200", net.addr().segments()[1]);
                (format!("fd99:{destination}::/64"), Some(via), 1024)
            }
            _ => (format!("192.168.{destination}.0/24"), None, 0),
        };
        let key = RouteKey {
            netns: link.netns.clone(),
            table: MAIN,
            destination: destination.parse().expect("a network"),
            metric,
        };
        let via = via.map(|via| via.parse().expect("an address"));
        self.state.put(key, Route { device: link.name.clone(), via });
    }

    fn table(&mut self, (sets, elements, verdicts): SetsWish<'_>, chains: &[ChainWish], upward: bool) {
        let table = TableKey { netns: NetnsName::Host, family: Family::Inet };
        self.state.put(table.clone(), Table {});
        for (id, definition) in sets {
            let data = if *definition == 2 { SetData::Values(vec![Datatype::Ipv4Addr]) } else { SetData::None };
            let key = vec![Datatype::InetProto, Datatype::InetService];
            let set = Set { key, data, interval: *definition > 0, filled: Default::default() };
            self.state.put(set_key(&table, *id), set);
        }
        for element in elements {
            self.element(&table, *element);
        }
        // The first of a name counts.
        let mut names = BTreeSet::new();
        let chains: Vec<_> = chains.iter().filter(|(id, ..)| names.insert(*id)).collect();
        let regular: BTreeSet<u8> = chains.iter().filter(|(_, hook, _)| hook.is_none()).map(|(id, ..)| *id).collect();
        if let Some(verdicts) = verdicts {
            self.verdicts(&table, verdicts, &regular);
        }
        for (id, hook, rules) in &chains {
            // Base chains call anybody; others only upward, or only downward, so that no calls go round.
            let may_call = |to: &u8| regular.contains(to) && (hook.is_some() || if upward { to > id } else { to < id });
            let rule = |(set, call): &RuleWish| self.rule(&table, *set, call.filter(may_call), hook.is_some());
            let base = hook.map(|n| Base {
                kind: ChainType::Nat,
                hook: Hook::Prerouting,
                priority: if n == 0 { -100 } else { -99 },
                policy: if n == 2 { Policy::Drop } else { Policy::Accept },
            });
            let chain = Chain { base, rules: rules.iter().map(rule).collect() };
            self.state.put(ChainKey { table: table.clone(), name: format!("c{id}") }, chain);
        }
    }

    /// Only base chains look there, so that no calls go round.
    fn verdicts(&mut self, table: &TableKey, verdicts: &[VerdictWish], chains: &BTreeSet<u8>) {
        let set = verdicts_key(table);
        let map =
            Set { key: vec![Datatype::Mark], data: SetData::Verdict, interval: false, filled: Default::default() };
        self.state.put(set.clone(), map);
        for (mark, chain) in verdicts {
            let called = chain.filter(|chain| chains.contains(chain));
            let verdict = called.map_or(MapVerdict::Drop, |chain| MapVerdict::Jump(format!("c{chain}").into()));
            let key = ElementKey { set: set.clone().into(), key: [Value::Mark(u32::from(*mark)).into()].into() };
            self.state.put(key, Element { data: ElementData::Verdict(verdict) });
        }
    }

    fn element(&mut self, table: &TableKey, (id, first, more, data): ElementWish) {
        let set = set_key(table, id);
        let Some(definition) = self.state.set(&set) else { return };
        let last = if definition.interval { first + more } else { first };
        let data = match definition.data {
            SetData::None | SetData::Verdict => ElementData::None,
            SetData::Values(_) => ElementData::Values([Value::Ipv4([10, 9, 9, data].into())].into()),
        };
        let span = Span { first: Value::Port(first), last: Value::Port(last) };
        let key = ElementKey { set: set.clone().into(), key: [Value::Proto(6).into(), span].into() };
        let free = self.state.elements(&set).all(|(other, _)| {
            other.key.get(1).is_some_and(|span| span.last < Value::Port(first) || Value::Port(last) < span.first)
        });
        if free {
            self.state.put(key, Element { data });
        }
    }

    fn rule(&self, table: &TableKey, set: Option<u8>, call: Option<u8>, in_base: bool) -> Rule {
        let fields = vec![Field::L4Proto, Field::Dport];
        let named = set.map(|id| set_key(table, id)).and_then(|key| Some((self.state.set(&key)?, key.name)));
        let verdicts = verdicts_key(table);
        let action = match (call, &named) {
            (Some(call), _) => Action::Jump(format!("c{call}")),
            (None, None) if in_base && self.state.set(&verdicts).is_some() => {
                Action::VerdictOfMark { map: verdicts.name }
            }
            (None, Some((set, map))) if set.data != SetData::None && in_base => Action::Dnat(NatTarget::Map {
                family: NatFamily::Ip,
                fields: fields.clone(),
                map: map.clone(),
                with_port: false,
            }),
            _ => Action::Accept,
        };
        let plain = named.filter(|(set, _)| set.data == SetData::None);
        let matches = plain.map(|(_, set)| Match::In { fields, op: Op::Eq, set });
        Rule { name: "rule".into(), matches: matches.into_iter().collect(), action }
    }
}

fn verdicts_key(table: &TableKey) -> SetKey {
    SetKey { table: table.clone(), name: "verdicts".to_owned() }
}

fn set_key(table: &TableKey, id: u8) -> SetKey {
    SetKey { table: table.clone(), name: format!("s{id}") }
}
