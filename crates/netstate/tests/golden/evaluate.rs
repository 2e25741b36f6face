//! Rules on packets, and the steps of a plan.

use netstate::{
    NetState, diff,
    nft::{
        Action, ChainKey, ChainType, CtState, Family, Field, Hook, Marking, Match, Op, Policy, Rule, Table, Value,
        eval::{Decision, Sight, Verdict, decide},
    },
};

use crate::host::{Builder, base, host, is, name, rule, table};

fn sight() -> Sight {
    Sight {
        iif: Some("in".to_owned()),
        oif: None,
        bridge: None,
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        proto: 6,
        ports: Some((1, 80)),
        mark: 0,
        state: CtState::New,
        dnat: false,
        local: false,
        chance: 5,
    }
}

fn chain(rules: Vec<Rule>, policy: Policy) -> (NetState, ChainKey) {
    let mut it = Builder::default();
    it.0.put(table(Family::Inet), Table {});
    let hooked = base(ChainType::Filter, Hook::Input, 0).map(|base| netstate::nft::Base { policy, ..base });
    it.chain(Family::Inet, "base", hooked, rules);
    let called =
        vec![rule("back", vec![is(Field::Dport, Value::Port(80))], Action::Return), rule("gone", vec![], Action::Drop)];
    it.chain(Family::Inet, "called", None, called);
    (it.0, ChainKey { table: table(Family::Inet), name: "base".to_owned() })
}

#[test]
fn a_match_holds_or_not() {
    let not = |field, value| Match::Is { field, op: Op::Ne, value };
    let within = |net: &str, op| Match::Within { field: Field::Ip4Saddr, op, net: net.parse().expect("a network") };
    let cases = [
        (is(Field::IifName, name("in")), true),
        (is(Field::OifName, name("")), true),
        (not(Field::OifName, name("x")), true),
        (is(Field::Dport, Value::Port(80)), true),
        (not(Field::Dport, Value::Port(80)), false),
        (is(Field::Ip6Daddr, Value::Ipv6(std::net::Ipv6Addr::LOCALHOST)), false),
        (not(Field::Ip6Daddr, Value::Ipv6(std::net::Ipv6Addr::LOCALHOST)), false),
        (not(Field::IbrName, name("br")), false),
        (within("10.0.0.0/8", Op::Eq), true),
        (within("10.0.0.0/8", Op::Ne), false),
        (within("11.0.0.0/8", Op::Ne), true),
        (Match::CtState(vec![CtState::Established, CtState::New]), true),
        (Match::CtState(vec![CtState::Invalid]), false),
        (Match::FibDaddrLocal, false),
        (Match::In { fields: vec![Field::Dport], op: Op::Ne, set: "missing".to_owned() }, true),
        (Match::SetMark(Marking::Random { modulus: 3, offset: 16 }), true),
        (Match::SetMark(Marking::Found { fields: vec![Field::Dport], map: "missing".to_owned() }), false),
    ];
    for (condition, holds) in cases {
        let (state, key) = chain(vec![rule("it", vec![condition.clone()], Action::Drop)], Policy::Accept);
        assert_eq!(decide(&state, &key, &sight()).is_some(), holds, "{condition:?}");
    }
}

#[test]
fn calls_come_back_and_policies_come_last() {
    let (state, key) = chain(vec![rule("call", vec![], Action::Jump("called".to_owned()))], Policy::Drop);
    let policy = Decision { chain: key.clone(), rule: None, verdict: Verdict::Drop, mark: 0 };
    assert_eq!(decide(&state, &key, &sight()), Some(policy));
    let other_port = Sight { ports: Some((1, 81)), ..sight() };
    let decision = decide(&state, &key, &other_port).expect("a drop");
    assert_eq!((decision.chain.name.as_str(), decision.rule.as_deref()), ("called", Some("gone")));
}

/// A digest is part of what is in kernels: it must not change without need.
#[test]
fn a_digest_stands_for_what_a_rule_does() {
    let drop_http =
        rule("http", vec![is(Field::L4Proto, Value::Proto(6)), is(Field::Dport, Value::Port(80))], Action::Drop);
    assert_eq!(drop_http.comment(), "http #2c65b827");
    let renamed = Rule { name: "other".to_owned(), ..drop_http.clone() };
    assert_eq!(renamed.digest(), drop_http.digest());
    let accept = Rule { action: Action::Accept, ..drop_http.clone() };
    assert_ne!(accept.digest(), drop_http.digest());
    let long = Rule { name: "ä".repeat(100), ..drop_http };
    assert!(long.comment().len() <= 128 && long.comment().ends_with(" #2c65b827"));
}

#[test]
fn operations_of_one_table_are_one_step() {
    let plan = diff(&host(), &NetState::default());
    let steps: Vec<_> = plan.steps().collect();
    assert_eq!(steps.iter().map(|step| step.len()).sum::<usize>(), plan.ops.len());
    let tables = steps.iter().filter(|step| step.len() > 1).count();
    assert_eq!(tables, 2, "one inet, one bridge");
}
