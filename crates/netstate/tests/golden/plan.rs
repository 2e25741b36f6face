//! Plans between two states.

use netstate::{
    Key, NetState, Object, diff, diff_keys,
    link::{Admin, LinkKind},
    netns::NetnsName,
    nft::{
        Action, Base, Chain, ChainKey, ChainType, Datatype, Element, ElementData, ElementKey, Family, Hook, MapVerdict,
        Policy, Rule, Set, SetData, SetKey, Value,
    },
    route::RouteKey,
};

use crate::{
    golden,
    host::{Builder, host, link, netns, port_span, rule, table},
};

/// The plan from one state to the other is the file's.
fn check(name: &str, from: &NetState, to: &NetState) {
    golden(&format!("plan/{name}.txt"), &diff(to, from).to_string());
}

/// The host, changed.
fn changed(change: impl FnOnce(&mut NetState)) -> NetState {
    let mut state = host();
    change(&mut state);
    state
}

fn set_link(state: &mut NetState, name: &str, change: impl FnOnce(&mut netstate::link::Link)) {
    if let Some(Object::Link(link)) = state.objects.get_mut(&Key::Link(link("host", name))) {
        change(link);
    }
}

fn without(state: &mut NetState, is_gone: impl Fn(&Key) -> bool) {
    state.objects.retain(|key, _| !is_gone(key));
}

#[test]
fn from_nothing_and_to_nothing() {
    check("first", &NetState::default(), &host());
    check("last", &host(), &NetState::default());
    check("none", &host(), &host());
}

#[test]
fn links() {
    check("link-change", &host(), &changed(|state| set_link(state, "docker0", |link| link.mtu = 1400)));
    check("link-down", &host(), &changed(|state| set_link(state, "docker0", |link| link.admin = Admin::Down)));
    let moved = changed(|state| {
        set_link(state, "veth-db", |link| {
            link.port.as_mut().expect("a port").bridge = "br-back".parse().expect("short")
        });
    });
    check("port-moves", &host(), &moved);
    let container_gone =
        changed(|state| without(state, |key| *key.netns() == netns("job") || key.to_string() == "link host:veth-job"));
    check("container-gone", &host(), &container_gone);
    let bridge_gone = changed(|state| {
        without(state, |key| key.to_string().contains("host:br-back"));
        for port in ["veth-webback", "veth-job"] {
            set_link(state, port, |link| link.port = None);
        }
    });
    check("bridge-gone", &host(), &bridge_gone);
    let not_a_bridge = changed(|state| {
        set_link(state, "br-back", |it| {
            it.kind = LinkKind::VethPeer { of: link("host", "other") };
        });
    });
    check("bridge-made-anew", &not_a_bridge, &host());
}

#[test]
fn addresses_and_routes() {
    let readdressed = |address: &'static str| {
        changed(|state| {
            let docker0 = link("host", "docker0");
            let addrs: Vec<_> = state.addrs(&docker0).filter(|addr| addr.address.addr().is_ipv4()).cloned().collect();
            without(state, |key| addrs.iter().any(|addr| *key == Key::Addr(addr.clone())));
            let mut builder = Builder(std::mem::take(state));
            builder.addrs(&docker0, &[address]);
            *state = builder.0;
        })
    };
    check("address-in-another-network", &host(), &readdressed("10.1.0.1/16"));
    check("address-in-the-same-network", &host(), &readdressed("172.17.0.254/16"));
    check("address-of-another-link", &host(), &readdressed("172.18.0.1/16"));
    let moved = changed(|state| {
        without(state, |key| key.to_string() == "address host:docker0 172.17.0.1/16");
        let mut builder = Builder(std::mem::take(state));
        builder.addrs(&link("host", "br-back"), &["172.17.0.1/24"]);
        *state = builder.0;
    });
    check("address-moves", &host(), &moved);
    let rerouted = changed(|state| {
        let mut builder = Builder(std::mem::take(state));
        builder.route("web", "0.0.0.0/0", Some("172.18.0.1"), "eth1");
        *state = builder.0;
    });
    check("route-changes", &host(), &rerouted);
}

#[test]
fn tables() {
    let element = |first, last| {
        changed(|state| {
            without(state, |key| key.to_string().contains("ports udp"));
            let mut builder = Builder(std::mem::take(state));
            let to = [netstate::nft::Value::Ipv4([172, 17, 0, 3].into()), netstate::nft::Value::Port(5)];
            let data = netstate::nft::ElementData::Values(to.into());
            builder.element("ports", vec![netstate::nft::Value::Proto(17).into(), port_span(first, last)], data);
            *state = builder.0;
        })
    };
    check("element-data", &host(), &element(9000, 9099));
    check("element-overlaps", &host(), &element(9050, 9060));
    let other_set = changed(|state| {
        let key = SetKey { table: table(Family::Inet), name: "ports".to_owned() };
        if let Some(Object::Set(set)) = state.objects.get_mut(&Key::from(key)) {
            set.interval = false;
        }
        without(state, |key| key.to_string().contains("ports udp"));
    });
    check("set-made-anew", &host(), &other_set);
    let plain_set = changed(|state| {
        let key = SetKey { table: table(Family::Inet), name: "bridges".to_owned() };
        if let Some(Object::Set(set)) = state.objects.get_mut(&Key::from(key)) {
            set.data = SetData::None;
            set.interval = true;
        }
    });
    check("named-set-made-anew", &host(), &plain_set);
    check("chain-rules", &host(), &with_rules("containers", |rules| rules[1].action = Action::Drop));
    let called_no_more = changed(|state| {
        *state = with_rules("forward", |rules| drop(rules.remove(2)));
        without(state, |key| key.to_string().ends_with("containers"));
    });
    check("chain-gone", &host(), &called_no_more);
}

#[test]
fn a_chain_that_elements_lead_to_is_made_anew() {
    let called = || ChainKey { table: table(Family::Inet), name: "called".to_owned() };
    let led_to = changed(|state| {
        state.put(called(), Chain { base: None, rules: vec![] });
        let map = SetKey { table: table(Family::Inet), name: "verdicts".to_owned() };
        let verdict = ElementData::Verdict(MapVerdict::Jump("called".into()));
        let key = ElementKey { set: map.clone().into(), key: [Value::Mark(1).into()].into() };
        let set =
            Set { key: vec![Datatype::Mark], data: SetData::Verdict, interval: false, filled: Default::default() };
        state.put(map, set);
        state.put(key, Element { data: verdict });
    });
    let alone = changed(|state| {
        let base = Base { kind: ChainType::Filter, hook: Hook::Forward, priority: 7, policy: Policy::Accept };
        state.put(called(), Chain { base: Some(base), rules: vec![] });
    });
    check("verdict-chain-made-anew", &led_to, &alone);
}

fn chain_key(name: &str) -> ChainKey {
    ChainKey { table: table(Family::Inet), name: name.to_owned() }
}

fn with_rules(chain: &str, change: impl FnOnce(&mut Vec<Rule>)) -> NetState {
    changed(|state| {
        if let Some(Object::Chain(chain)) = state.objects.get_mut(&Key::Chain(chain_key(chain))) {
            change(&mut chain.rules);
        }
    })
}

/// What a kernel shows of rules is their comments; that is enough to find them unchanged, and to change them.
#[test]
fn rules_read_back_are_recognised() {
    let read_back = changed(|state| {
        for object in state.objects.values_mut() {
            if let Object::Chain(chain) = object {
                chain.rules = chain.rules.iter().map(|rule| Rule::from_comment(rule.comment())).collect();
            }
        }
    });
    assert_eq!(diff(&host(), &read_back).to_string(), "");
    let foreign = changed(|state| {
        let odd = vec![Rule::from_comment("odd #12345678")];
        state.put(chain_key("left"), Chain { base: None, rules: odd });
        state.put(
            chain_key("over"),
            Chain { base: None, rules: vec![rule("call", vec![], Action::Jump("left".into()))] },
        );
    });
    check("unknown-rules", &foreign, &host());
}

#[test]
fn some_keys_bring_what_they_need() {
    let default = RouteKey {
        netns: netns("web"),
        table: netstate::route::MAIN,
        destination: "0.0.0.0/0".parse().expect("a network"),
        metric: 0,
    };
    let plan = |key| diff_keys(&host(), &NetState::default(), [key]).to_string();
    golden("plan/keys-route.txt", &plan(Key::Route(default)));
    golden("plan/keys-chain.txt", &plan(Key::Chain(chain_key("forward"))));
    assert_eq!(diff_keys(&host(), &host(), [Key::Netns(NetnsName::Host)]).to_string(), "");
}
