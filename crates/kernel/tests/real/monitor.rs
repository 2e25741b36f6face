//! What somebody else does to ours is noticed, and what we do is not.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use kernel::{Monitor, Surprise};
use netstate::{
    Key, NetState, Object, Op, Plan,
    netns::NetnsName,
    nft::{Datatype, Family, Table, TableKey},
};

use crate::{
    common::*,
    sample::{ip4, put_element, put_set},
};

const DEADLINE: Duration = Duration::from_secs(30);
/// Longer than notifications are held back to come together.
const SILENCE: Duration = Duration::from_millis(300);

const FEW: u8 = 40;

type Reports = Receiver<BTreeSet<Surprise>>;

fn watch(linux: &Linux) -> (Monitor, Reports) {
    let (send, receive) = channel();
    let monitor = linux.watch(move |surprise| send.send(surprise).unwrap_or_default()).expect("to watch");
    (monitor, receive)
}

/// All that is reported up to a certain surprise.
fn up_to(expected: Surprise, reports: &Reports, after: &str) -> BTreeSet<Surprise> {
    let mut seen = BTreeSet::new();
    while !seen.contains(&expected) {
        let more = reports.recv_timeout(DEADLINE);
        seen.extend(more.unwrap_or_else(|_| panic!("{after}: no {expected:?} is noticed, only {seen:?}")));
    }
    seen
}

/// What happened before was no surprise: nothing comes of it, and what is done now comes as the first thing.
fn no_surprise(reports: &Reports, what: &str) {
    assert_eq!(reports.recv_timeout(SILENCE).ok(), None, "{what}");
    for forwards in ["net.ipv4.ip_forward=1", "net.ipv4.ip_forward=0"] {
        run("sysctl", &["-q", forwards]);
    }
    assert_eq!(up_to(Surprise::Settings, reports, what), [Surprise::Settings].into(), "{what}");
}

#[test]
fn others_are_noticed() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        state.put(TableKey { netns: NetnsName::Host, family: Family::Inet }, Table {});
        apply(&mut linux, &creation(&state));
        let (monitor, reports) = watch(&linux);
        ip("link add foreign type bridge");
        ip("address add 10.0.0.1/8 dev foreign");
        run("nft", &["add", "table", "inet", "foreign"]);
        no_surprise(&reports, "foreign objects");
        drop(monitor);
        run("sysctl", &["-q", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        let cases = [
            ("ip link set br0 mtu 1400", Surprise::Links),
            ("ip link set v1 nomaster", Surprise::Links),
            ("ip link set br0 down", Surprise::Links),
            ("ip address delete 172.17.0.1/16 dev br0", Surprise::Addrs),
            ("nft flush ruleset", Surprise::Rules),
            ("sysctl -q net.ipv4.ip_forward=0", Surprise::Settings),
            ("sysctl -q net.ipv6.conf.all.forwarding=0", Surprise::Settings),
            ("ip link delete br0", Surprise::Links),
        ];
        for (command, expected) in cases {
            // A watcher of its own, whom nobody told of what came before.
            let (_monitor, reports) = watch(&linux);
            let words: Vec<&str> = command.split(' ').collect();
            run(words[0], &words[1..]);
            up_to(expected, &reports, command);
        }
    });
}

#[test]
fn our_own_changes_are_not() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        bridge(&mut state);
        state.put(TableKey { netns: NetnsName::Host, family: Family::Inet }, Table {});
        let (_monitor, reports) = watch(&linux);
        apply(&mut linux, &creation(&state));
        let mut more = NetState::default();
        endpoint(&mut more, 1);
        endpoint(&mut more, 2);
        apply(&mut linux, &creation(&more));
        no_surprise(&reports, "creation");
        // The kernel deletes the veths after their namespaces, in its own time.
        let netns = |op: &Op| matches!(op.key(), Key::Netns(_));
        let ops: Vec<Op> = deletion(&more).ops.into_iter().filter(netns).collect();
        apply(&mut linux, &Plan { ops });
        let deadline = Instant::now() + DEADLINE;
        while !ip("-o link show type veth").is_empty() {
            assert!(Instant::now() < deadline, "veths are left: {}", ip("-o link"));
            std::thread::yield_now();
        }
        no_surprise(&reports, "the end of the namespaces");
        let (key, object) = state.objects.iter().find(|(_, o)| matches!(o, Object::Link(_))).expect("the bridge");
        let ops = vec![Op::Delete { key: key.clone(), object: object.clone(), with: BTreeSet::new() }];
        apply(&mut linux, &Plan { ops });
        no_surprise(&reports, "the end of the bridge");
    });
}

/// Many elements, of which none is told: neither are they a surprise, nor does one of somebody else's stay unseen, whenever it comes.
#[test]
fn large_changes_hide_nothing() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        state.put(TableKey { netns: NetnsName::Host, family: Family::Inet }, Table {});
        for set in ["few", "many"] {
            put_set(&mut state, Family::Inet, set, &[Datatype::Ipv4Addr], &[], false);
        }
        for last in 0..FEW {
            put_element(&mut state, Family::Inet, "few", &[ip4(&format!("192.0.2.{last}")).into()], &[]);
        }
        let (_monitor, reports) = watch(&linux);
        apply(&mut linux, &creation(&state));
        let mut many = NetState::default();
        for number in 0..20_000 {
            let address = format!("10.0.{}.{}", number / 250, number % 250);
            put_element(&mut many, Family::Inet, "many", &[ip4(&address).into()], &[]);
        }
        apply(&mut linux, &creation(&many));
        no_surprise(&reports, "many elements of ours");

        // Somebody takes elements of ours while many of ours come and go.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                for last in 0..FEW {
                    run("nft", &["delete", "element", "inet", "linkspan", "few", &format!("{{ 192.0.2.{last} }}")]);
                }
            });
            while !other.is_finished() {
                apply(&mut linux, &deletion(&many));
                apply(&mut linux, &creation(&many));
            }
        });
        up_to(Surprise::Rules, &reports, "elements were taken meanwhile");
        state.objects.extend(many.objects);
        converge(&mut linux, &state, "after elements were taken");
        while reports.recv_timeout(SILENCE).is_ok() {}
        run("nft", &["flush", "set", "inet", "linkspan", "few"]);
        up_to(Surprise::Rules, &reports, "elements were taken afterwards");
        converge(&mut linux, &state, "after all few were taken");
    });
}
