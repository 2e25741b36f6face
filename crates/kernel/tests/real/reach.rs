//! What a trace says of a packet is what becomes of a real one: in every scenario and in random ones, for every question of
//! `tests/steps/matrix.rs`.
//!
//! What must not arrive is sent first, then all that must: each of these is a marker behind the others, and when the last has come the
//! silence about those has lasted long enough. Nothing here waits for a time to pass but where something has already gone wrong.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use model::port::Protocol;
use netstate::{
    Key, NetState,
    link::LinkKey,
    netns::NetnsName,
    nft::{Spans, Value},
    trace::{Cause, End, Hop, Origin, Surroundings, Trace, trace},
};
use plan::names::LINKED_ONLY;
use proptest::prelude::*;

use crate::{
    matrix::{HOST, Question, questions, surroundings},
    scenarios::{Scene, each, stage},
    wire::{Arrival, HERE, Listener, Place, Sent, next},
};

/// At the host, for the markers (the discard service of RFC 863).
const MARKER_PORT: u16 = 9;

/// Whether frames from port to port pass the host's own rules for packets too (`br_netfilter`).
const CALLS: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// How many random scenarios are played: each takes a third of a second.
const CASES: u32 = 20;

/// How many of what there were.
#[derive(Debug, Default)]
struct Count {
    scenarios: usize,
    delivered: usize,
    dropped: usize,
    skipped: usize,
}

#[test]
fn packets_go_as_traced() {
    let told = Mutex::new(Told::default());
    each(|scene| {
        scene.play(|_, _| ());
        scene.reach("at the end");
        ask_all(scene, &mut told.lock().expect("no panic"));
    });
    let told = told.into_inner().expect("no panic");
    eprintln!("{:?}", told.count);
    assert!(told.wrong.is_empty(), "{} are wrong:\n{}", told.wrong.len(), told.wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: CASES, max_shrink_iters: 4 * CASES, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn anything_comes_true_and_goes_as_traced(lines in crate::random::lines()) {
        let told = Mutex::new(Told::default());
        let steps = ["open pool=10.0.0.0/22,24".to_owned()].into_iter().chain(lines).collect();
        stage("at random", steps, |scene| {
            scene.play(|scene, line| scene.reach(&format!("after {line}")));
            ask_all(scene, &mut told.lock().expect("no panic"));
        });
        let told = told.into_inner().expect("no panic");
        prop_assert!(told.wrong.is_empty(), "{}", told.wrong.join("\n"));
    }
}

/// What became of the questions.
#[derive(Default)]
struct Told {
    count: Count,
    /// Those that went otherwise.
    wrong: Vec<String>,
}

/// Asks all questions, with `br_netfilter` off and on.
fn ask_all(scene: &Scene, told: &mut Told) {
    told.count.scenarios += 1;
    for value in ["0", "1"] {
        if Path::new(CALLS[0]).exists() {
            CALLS.iter().for_each(|path| fs::write(path, value).expect("a setting"));
        } else if value == "1" {
            eprintln!("SKIPPED: {} with br_netfilter, which is not there", scene.name);
            continue;
        }
        let wrong = ask(scene, &mut told.count);
        told.wrong.extend(wrong);
    }
}

/// A question with what the trace says.
struct Traced {
    question: Question,
    trace: Trace,
    sent: Sent,
    /// Where it should arrive and from whom, when it should and its answer too: at one of these, where chance decides.
    arrivals: Vec<(Place, IpAddr)>,
    /// Whether chance decides if it arrives at all.
    unsure: bool,
}

/// So many chances are looked at: no service of the scenarios has more endpoints.
const CHANCES: u32 = 24;

/// Asks all questions, and tells of those that went otherwise.
fn ask(scene: &Scene, count: &mut Count) -> Vec<String> {
    let (net, around) = (plan::desired(&scene.stage.state).net, surroundings());
    let all = with_markers(questions(&scene.stage.state)).into_iter().zip(0..);
    let all = all.map(|(question, number)| follow(scene, (&net, &around), question, number));
    let (can, cannot): (Vec<Traced>, Vec<Traced>) = all.partition(|traced| why_not(&net, traced).is_none());
    for why in cannot.iter().filter_map(|traced| why_not(&net, traced)).collect::<BTreeSet<_>>() {
        let those = cannot.iter().filter(|traced| why_not(&net, traced) == Some(why));
        let those: Vec<_> = those.map(|traced| traced.question.to_string()).collect();
        eprintln!("SKIPPED: {}: {} packets ({}): {why}", scene.name, those.len(), those.join(", "));
    }
    let (must, must_not): (Vec<Traced>, Vec<Traced>) = can.into_iter().partition(|traced| !traced.arrivals.is_empty());
    count.delivered += must.len();
    count.dropped += must_not.len();
    count.skipped += cannot.len();

    let places: BTreeSet<Place> =
        must.iter().flat_map(|traced| &traced.arrivals).map(|(place, _)| place.clone()).collect();
    let listeners: Vec<Listener> = places.into_iter().map(Listener::new).collect();
    let dispatched: Vec<_> = must_not.iter().map(|traced| traced.sent.dispatch()).collect();
    let (mut strays, mut wrong) = (Vec::new(), Vec::new());
    for traced in &must {
        let became = traced.sent.deliver(&listeners, &mut strays);
        if !arrived(traced, &became) {
            wrong.push(complaint(scene, traced, &became));
        }
    }
    while let Some(stray) = next(&listeners, Duration::ZERO) {
        strays.push(stray);
    }
    for (traced, dispatched) in must_not.iter().zip(dispatched) {
        let heard = dispatched.and_then(|dispatched| dispatched.answer()).map_err(|error| error.kind());
        let stray = strays.iter().find(|stray| stray.number == Some(traced.sent.number));
        if stray.is_some() || !is_dropped(traced, heard) {
            wrong.push(complaint(scene, traced, &(heard, stray)));
        }
    }
    wrong
}

/// Why a question cannot be asked here.
fn why_not(net: &NetState, traced: &Traced) -> Option<&'static str> {
    if traced.question.protocol == Protocol::Sctp {
        return Some("there are no sockets for SCTP here");
    }
    if traced.unsure {
        return Some("some of its endpoints are there and some are not");
    }
    let filtered = fs::read_to_string(CALLS[0]).is_ok_and(|value| value.trim() == "1");
    let is_linked_only = |link: &LinkKey| {
        let port = Spans::from([Value::IfName(link.name.to_string()).into()]);
        net.objects.keys().any(|key| matches!(key, Key::Element(e) if e.set.name == LINKED_ONLY && e.key == port))
    };
    let hops = &traced.trace.there.hops;
    let comes_back = hops.iter().any(|hop| matches!(hop, Hop::Ruled { rule, .. } if rule == "back to its own network"));
    let is_kept_apart = hops.iter().any(|hop| matches!(hop, Hop::Bridged { port, .. } if is_linked_only(port)));
    (filtered && comes_back && is_kept_apart)
        .then_some("without listeners br_netfilter bridges it where containers are kept apart (README.md)")
}

/// Each source that asks something says something to the host too, last of all.
fn with_markers(mut questions: Vec<Question>) -> Vec<Question> {
    let mut markers: Vec<Question> = Vec::new();
    for question in &questions {
        let host = HOST[usize::from(question.packet.destination.is_ipv6())];
        let mut marker = Question { target: "marker".into(), protocol: Protocol::Udp, ..question.clone() };
        marker.packet.destination = host;
        marker.packet.port = MARKER_PORT;
        marker.packet.proto = Protocol::Udp.number();
        if !markers.iter().any(|other| other.packet == marker.packet) {
            markers.push(marker);
        }
    }
    questions.append(&mut markers);
    questions
}

fn follow(scene: &Scene, (net, around): (&NetState, &Surroundings), question: Question, number: u32) -> Traced {
    let is_service = question.target == "service";
    let trace = trace(net, around, &question.packet);
    let protocol = question.protocol;
    let from = match &question.packet.from {
        Origin::Socket(netns) => file(scene, netns),
        Origin::Wire(_) => scene.outside.clone(),
    };
    let to = SocketAddr::new(question.packet.destination, question.packet.port);
    let arrival = |trace: &Trace| {
        let (netns, tuple) = match &trace.there.end {
            _ if !trace.connects() => return None,
            End::Delivered { netns, tuple, .. } => (file(scene, netns), tuple),
            End::Left { tuple, .. } => (scene.outside.clone(), tuple),
            End::Dropped(_) => return None,
        };
        Some((Place { netns, protocol, address: SocketAddr::new(tuple.destination, tuple.port) }, tuple.source))
    };
    let by_chance = |chance| netstate::trace::trace(net, &Surroundings { chance, ..around.clone() }, &question.packet);
    let mut arrivals: Vec<_> = (0..if is_service { CHANCES } else { 1 }).map(by_chance).map(|t| arrival(&t)).collect();
    arrivals.dedup();
    // Where some arrive and some do not, chance decides whether anybody hears: nothing can be said of it.
    let unsure = arrivals.iter().any(Option::is_none) && arrivals.iter().any(Option::is_some);
    let arrivals = arrivals.into_iter().flatten().collect();
    Traced { sent: Sent { netns: from, protocol, to, number }, question, trace, arrivals, unsure }
}

fn file(scene: &Scene, netns: &NetnsName) -> PathBuf {
    match netns {
        NetnsName::Host => Path::new(HERE).to_owned(),
        NetnsName::Named(name) => scene.linux.netns_path(name),
    }
}

/// Whether it came where the trace says, from whom it says.
fn arrived(traced: &Traced, became: &io::Result<Arrival>) -> bool {
    became.as_ref().is_ok_and(|arrival| {
        traced.arrivals.iter().any(|(place, source)| *place == arrival.place && *source == arrival.source)
    })
}

/// Whether its sender heard nothing; where not a rule but the network has no way for it, it may have been told so.
fn is_dropped(traced: &Traced, heard: Result<(), io::ErrorKind>) -> bool {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, PermissionDenied, WouldBlock,
    };
    let refusal = |cause: &Cause| matches!(cause, Cause::Rule { verdict, .. } if verdict.starts_with("reject"));
    let is_refused = matches!(&traced.trace.there.end, End::Dropped(cause) if refusal(cause));
    let is_ruled = matches!(&traced.trace.there.end, End::Dropped(Cause::Rule { .. }));
    match heard {
        Err(WouldBlock) => true,
        Err(ConnectionRefused) => is_refused,
        // The host's own packet went no further than its socket.
        Err(PermissionDenied) => is_ruled,
        Err(NetworkUnreachable | HostUnreachable | AddrNotAvailable) => !is_ruled,
        _ => false,
    }
}

fn complaint(scene: &Scene, traced: &Traced, became: &dyn std::fmt::Debug) -> String {
    format!("{}: {}: {became:?}, but the trace says\n{}", scene.name, traced.question, traced.trace)
}
