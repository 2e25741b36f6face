//! nftables text, and that the real `nft` reads it.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use netstate::{
    NetState,
    nft::{
        Action, ChainType, Datatype, Family, Field, Hook, IcmpReject, Match, NatTarget, Op, SetData, Span, Table,
        Value, text,
    },
};

use crate::{
    golden,
    host::{Builder, base, host, is, name, netns, port_span, rule, table},
};

#[test]
fn the_host_as_a_script() {
    let script = text::script(&host(), &netns("host"));
    golden("host.nft", &script);
    nft_reads(&script);
}

#[test]
fn the_host_as_text() {
    golden("host.txt", &host().to_string());
}

#[test]
fn every_word_is_nfts() {
    let script = text::script(&all_words(), &netns("host"));
    golden("words.nft", &script);
    nft_reads(&script);
}

/// Each match, field, action and type once.
fn all_words() -> NetState {
    use netstate::nft::{CtState, CtStatus};
    let mut it = Builder::default();
    it.0.put(table(Family::Inet), Table {}).put(table(Family::Bridge), Table {});
    let types = vec![Datatype::Ipv6Addr, Datatype::InetProto, Datatype::InetService, Datatype::Mark];
    it.set("everything", types, SetData::Values(vec![Datatype::Ipv6Addr, Datatype::InetService]), true);
    let v6 = |text: &str| Value::Ipv6(text.parse().expect("an address"));
    let key = vec![v6("fd00::1").into(), Value::Proto(132).into(), port_span(1, 9), Value::Mark(0x10).into()];
    it.element("everything", key, netstate::nft::ElementData::Values([v6("fd00::2"), Value::Port(3)].into()));
    let any = Span { first: Value::Ipv4([0; 4].into()), last: Value::Ipv4([255; 4].into()) };
    it.set("anywhere", vec![Datatype::Ipv4Addr, Datatype::InetService], SetData::None, true);
    it.element("anywhere", vec![any, port_span(80, 80)], netstate::nft::ElementData::None);
    it.set("types", vec![Datatype::EtherType], SetData::None, false);
    it.element("types", vec![Value::EtherType(0x0806).into()], netstate::nft::ElementData::None);
    let tcp = || is(Field::L4Proto, Value::Proto(6));
    let matches = [
        vec![is(Field::IifName, name("a")), is(Field::OifName, name("b")), is(Field::Mark, Value::Mark(7))],
        vec![
            is(Field::Ip4Saddr, Value::Ipv4([10, 0, 0, 1].into())),
            is(Field::Ip4Daddr, Value::Ipv4([10, 0, 0, 2].into())),
        ],
        vec![is(Field::Ip6Saddr, v6("fd00::1")), is(Field::Ip6Daddr, v6("fd00::2"))],
        vec![is(Field::L4Proto, Value::Proto(17)), is(Field::Sport, Value::Port(1)), is(Field::Dport, Value::Port(2))],
        vec![Match::Within { field: Field::Ip6Daddr, op: Op::Ne, net: "fd00::/8".parse().expect("a network") }],
        vec![
            Match::CtState(vec![CtState::Invalid, CtState::New]),
            Match::CtStatus(CtStatus::Dnat),
            Match::FibDaddrLocal,
        ],
    ];
    let accept = |matches| rule("a \"quoted\" name", matches, Action::Accept);
    let mut rules: Vec<_> = matches.into_iter().map(accept).collect();
    rules.push(rule("both ways to refuse", vec![], Action::Reject(IcmpReject::PortUnreachable)));
    rules.push(rule("a reset", vec![tcp()], Action::Reject(IcmpReject::AdminProhibited)));
    rules.push(rule("a call", vec![], Action::Jump("called".to_owned())));
    it.chain(Family::Inet, "through", base(ChainType::Filter, Hook::Forward, 10), rules);
    it.chain(
        Family::Inet,
        "called",
        None,
        vec![rule("back", vec![], Action::Return), rule("gone", vec![], Action::Drop)],
    );
    let fields = vec![Field::Ip6Daddr, Field::L4Proto, Field::Dport, Field::Mark];
    let map = "everything".to_owned();
    let family = netstate::nft::NatFamily::Ip6;
    let mapped = NatTarget::Map { family, fields, map, with_port: true };
    let to = |address: &str, port| NatTarget::To { address: address.parse().expect("an address"), port };
    let rules = vec![
        rule("by map", vec![tcp()], Action::Dnat(mapped)),
        rule("by address", vec![], Action::Dnat(to("10.0.0.1", None))),
        rule("by port", vec![tcp()], Action::Dnat(to("fd00::1", Some(80)))),
        rule("here", vec![tcp()], Action::Redirect { port: 53 }),
    ];
    it.chain(Family::Inet, "before", base(ChainType::Nat, Hook::Prerouting, -100), rules);
    let rules = vec![
        rule("by address", vec![tcp()], Action::Snat(to("10.0.0.1", Some(9)))),
        rule("ours", vec![], Action::Masquerade),
    ];
    it.chain(Family::Inet, "after", base(ChainType::Nat, Hook::Postrouting, 100), rules);
    let arp = vec![is(Field::IifName, name("port")), is(Field::EtherType, Value::EtherType(0x0806))];
    it.chain(Family::Bridge, "frames", base(ChainType::Filter, Hook::Forward, 0), vec![rule("arp", arp, Action::Drop)]);
    it.0
}

/// Not every kernel knows the bridge of a frame (`CONFIG_NFT_BRIDGE_META`).
#[test]
fn the_bridge_of_a_frame() {
    let mut it = Builder::default();
    it.0.put(table(Family::Bridge), Table {});
    let rules = vec![rule("bridge", vec![is(Field::IbrName, name("br"))], Action::Drop)];
    it.chain(Family::Bridge, "frames", base(ChainType::Filter, Hook::Forward, 0), rules);
    let script = text::script(&it.0, &netns("host"));
    golden("bridge.nft", &script);
    match nft(&script) {
        Some(output) if String::from_utf8_lossy(&output.stderr).contains("Operation not supported") => {
            eprintln!("SKIPPED: this kernel does not know `meta ibrname` (CONFIG_NFT_BRIDGE_META)");
        }
        _ => nft_reads(&script),
    }
}

/// Loads a script into a namespace of its own, lists it, and loads what was listed.
fn nft_reads(script: &str) {
    let Some(listed) = nft(script) else { return };
    assert!(listed.status.success(), "nft does not read\n{script}\n{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("nft writes UTF-8");
    for comment in script.split("comment ").skip(1).filter_map(|rest| rest.lines().next()) {
        assert!(listed.contains(comment), "the comment {comment} is missing in\n{listed}");
    }
    let again = nft(&listed).expect("it was there a moment ago");
    assert!(
        again.status.success(),
        "nft does not read what it lists\n{listed}\n{}",
        String::from_utf8_lossy(&again.stderr)
    );
}

/// Loads a script in a namespace of its own and lists what is there then; none where that is not possible.
fn nft(script: &str) -> Option<Output> {
    let possible = Command::new("unshare").args(["--net", "nft", "list", "ruleset"]).output();
    if !possible.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: the real nft was not asked, because `unshare --net nft list ruleset` fails (root and nftables are needed)"
        );
        return None;
    }
    let spawned = Command::new("unshare")
        .args(["--net", "sh", "-c", "nft -f - && nft list ruleset"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.expect("it can be run");
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("nft reads");
    Some(child.wait_with_output().expect("nft ends"))
}
