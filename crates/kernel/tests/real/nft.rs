//! nftables: what is written lists, reloads and is read back, for every shape of rule, set and element.

use std::path::Path;

use netstate::{
    Kernel, Key, NetState, Object, Op as PlanOp, Plan,
    netns::NetnsName,
    nft::{
        Action, Chain, ChainKey, ChainType, Element, ElementData, ElementKey, Family, Field, Hook, NatFamily,
        NatTarget, Op, Policy, Span, Table, TableKey, Value,
    },
};

use crate::{common::*, sample::*};

fn linux(run_dir: &Path) -> Linux {
    Linux::open(run_dir).expect("to open")
}

#[test]
fn every_shape_lists_reloads_and_is_read_back() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let state = everything();
        apply(&mut linux, &creation(&state));
        let text = ruleset(run_dir);
        golden("everything.nft", &text);
        assert_observed(&mut linux, &state);
        // Applying twice is normal, and a daemon that starts anew sees the same.
        apply(&mut linux, &creation(&state));
        assert_eq!(ruleset(run_dir), text);
        let mut again = self::linux(run_dir);
        assert_observed(&mut again, &state);
        apply(&mut again, &deletion(&state));
        apply(&mut again, &deletion(&state));
        assert_eq!(ruleset(run_dir), "");
    });
}

#[test]
fn the_bridge_of_a_frame_is_matched_where_the_kernel_can() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge_table(&mut state);
        let rules = vec![
            rule("ibrname", vec![is(Field::IbrName, Value::IfName("br0".into()))], Action::Drop),
            rule("in", vec![in_set(&[Field::IbrName], Op::Eq, "isolated")], Action::Drop),
        ];
        state.put(chain_key(Family::Bridge, "names"), Chain { base: None, rules });
        let report = linux.apply(&creation(&state));
        match report.fault {
            Some(fault) if fault.errno == libc::EOPNOTSUPP => eprintln!("SKIPPED: no CONFIG_NFT_BRIDGE_META: {fault}"),
            Some(fault) => panic!("{fault}"),
            None => assert_observed(&mut linux, &state),
        }
    });
}

#[test]
fn rules_nobody_asked_for_are_not_recognised() {
    world(|run_dir| {
        let state = everything();
        apply(&mut linux(run_dir), &creation(&state));
        let seen = linux(run_dir).observe(&Default::default()).expect("to observe");
        let Some(Object::Chain(chain)) = seen.objects.get(&Key::Chain(chain_key(Family::Inet, "forward"))) else {
            panic!("no chain")
        };
        assert!(chain.rules[1].name.starts_with("drop #"), "{:?}", chain.rules[1]);
        run("nft", &["add", "rule", "inet", "linkspan", "input", "accept"]);
        let mut linux = linux(run_dir);
        linux.expect(&state);
        let seen = linux.observe(&Default::default()).expect("to observe");
        let input = &seen.objects[&Key::Chain(chain_key(Family::Inet, "input"))];
        assert_ne!(*input, state.objects[&Key::Chain(chain_key(Family::Inet, "input"))]);
    });
}

#[test]
fn changes_happen_in_place() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = everything();
        apply(&mut linux, &creation(&state));
        let mut plan = Plan::default();
        let mut change = |state: &mut NetState, key: Key, to: Object| {
            let from = state.objects.insert(key.clone(), to.clone()).expect("is there");
            plan.ops.push(PlanOp::Change { key, from, to });
        };
        let key = chain_key(Family::Inet, "forward");
        let rules = vec![rule("only", vec![], Action::Jump("matches".into()))];
        change(
            &mut state,
            key.into(),
            Chain { base: base(ChainType::Filter, Hook::Forward, 0, Policy::Accept), rules }.into(),
        );
        let moved = Chain {
            base: base(ChainType::Filter, Hook::Input, 5, Policy::Drop),
            rules: vec![rule("all", vec![], Action::Accept)],
        };
        change(&mut state, chain_key(Family::Inet, "input").into(), moved.into());
        let key = ElementKey { set: set_key(Family::Inet, "portmap").into(), key: [ports(80, 80)].into() };
        change(&mut state, key.into(), Element { data: ElementData::Values([ip4("10.9.9.9")].into()) }.into());
        let any = Span { first: ip4("0.0.0.0"), last: ip4("255.255.255.255") };
        let key = ElementKey {
            set: set_key(Family::Inet, "published").into(),
            key: [any, Value::Proto(6).into(), ports(20000, 29999)].into(),
        };
        change(&mut state, key.into(), Element { data: ElementData::Values([ip4("10.9.9.9")].into()) }.into());
        let key = ElementKey { set: set_key(Family::Inet, "hosts").into(), key: [ip4("192.0.2.1").into()].into() };
        change(&mut state, key.into(), Element { data: ElementData::Values([ip4("10.9.9.9")].into()) }.into());
        apply(&mut linux, &plan);
        assert_observed(&mut linux, &state);
    });
}

#[test]
fn a_transaction_that_fails_changes_nothing_and_names_its_operation() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let state = everything();
        apply(&mut linux, &creation(&state));
        let f = Family::Inet;
        let element = |set: &str, key: Vec<Span>| {
            let key = ElementKey { set: set_key(f, set).into(), key: key.into_iter().collect() };
            PlanOp::Create { key: key.into(), object: Element::default().into() }
        };
        let lone =
            |rules| PlanOp::Create { key: chain_key(f, "lone").into(), object: Chain { base: None, rules }.into() };
        let check = |linux: &mut Linux, ops: Vec<PlanOp>, bad: usize, words: &str| {
            let report = linux.apply(&Plan { ops: ops.clone() });
            let fault = report.fault.expect("a fault").to_string();
            assert_eq!(report.done, 0, "{fault}");
            assert!(fault.starts_with(&format!("cannot {}", ops[bad])) && fault.contains(words), "{fault}");
            assert_observed(linux, &state);
        };
        let jump = lone(vec![rule("nowhere", vec![], Action::Jump("absent".into()))]);
        check(&mut linux, vec![element("t_a4", vec![ip4("10.7.7.7").into()]), jump], 1, "No such file");
        check(
            &mut linux,
            vec![lone(vec![]), element("t_a4", vec![Value::Port(1).into()])],
            1,
            "not of its set's types",
        );
        let overlap = Span { first: ip4("9.0.0.0"), last: ip4("10.0.0.7") };
        check(
            &mut linux,
            vec![element("t_a4", vec![ip4("10.7.7.7").into()]), element("nets", vec![overlap])],
            1,
            "overlaps",
        );
        let port = rule("blind", vec![], Action::Redirect { port: 1 });
        check(&mut linux, vec![lone(vec![port])], 0, "transport protocol");
        let fields = vec![Field::Ip6Daddr, Field::L4Proto, Field::Dport];
        let map = NatTarget::Map { family: NatFamily::Ip6, fields, map: "published6".into(), with_port: true };
        check(&mut linux, vec![lone(vec![rule("blind ranges", vec![], Action::Dnat(map))])], 0, "transport protocol");
    });
}

#[test]
fn ten_thousand_elements_fit_one_transaction_and_ten_thousand_ports_one_element() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = everything();
        apply(&mut linux, &creation(&state));
        let before = state.clone();
        for number in 0..10_000_u32 {
            let value = Value::Ipv4((0x0a14_0000 + number).into());
            put_element(&mut state, Family::Inet, "t_a4", &[value.into()], &[]);
        }
        let added: Vec<PlanOp> =
            creation(&state).ops.into_iter().filter(|op| !before.objects.contains_key(op.key())).collect();
        apply(&mut linux, &Plan { ops: added.clone() });
        assert_observed(&mut linux, &state);
        let removal = |op: PlanOp| match op {
            PlanOp::Create { key, object } => PlanOp::Delete { key, object, with: Default::default() },
            other => other,
        };
        apply(&mut linux, &Plan { ops: added.into_iter().map(removal).collect() });
        assert_observed(&mut linux, &before);
    });
}

#[test]
fn tables_of_sandboxes_have_a_name_of_their_own() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        state.put(NetnsName::named("box"), netstate::netns::Netns {});
        let table = TableKey { netns: NetnsName::named("box"), family: Family::Inet };
        state.put(table.clone(), Table {});
        let chain = ChainKey { table, name: "output".into() };
        let rules = vec![rule(
            "dns",
            vec![is(Field::L4Proto, Value::Proto(17)), is(Field::Dport, Value::Port(53))],
            Action::Redirect { port: 41053 },
        )];
        state.put(chain, Chain { base: base(ChainType::Nat, Hook::Output, -100, Policy::Accept), rules });
        apply(&mut linux, &creation(&state));
        let path = format!("--net={}", linux.netns_path("box").display());
        // A linkspan inside the container keeps its rules in a table of another name.
        run("nsenter", &[&path, "nft", "add", "table", "inet", "linkspan"]);
        assert_observed(&mut linux, &state);
        assert!(run("nsenter", &[&path, "nft", "list", "tables"]).contains("table inet linkspan-sandbox"));
    });
}
