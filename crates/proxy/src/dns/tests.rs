//! Queries and answers as text, malformed packets, and our reading of the format against another implementation's.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query as Question};
use hickory_proto::rr::{Name, RecordType};
use model::NetworkId;
use plan::dns::{Attached, DnsView, EndpointNames, Forward, NetworkNames, Unqualified, Upstream, Way};
use proptest::prelude::*;

use super::answer::{Scope, Transport, Verdict, answer};
use super::wire;

fn network(name: &str, endpoints: &[(&str, &str)]) -> Arc<ArcSwap<NetworkNames>> {
    let mut names = NetworkNames::new(name);
    for (endpoint, addresses) in endpoints {
        names.insert(&EndpointNames {
            names: endpoint.split(' ').map(str::to_owned).collect(),
            addresses: addresses.split(' ').map(|address| address.parse().unwrap()).collect(),
        });
    }
    Arc::new(ArcSwap::from_pointee(names))
}

/// Two networks: `back` comes first, `net.front` has a dot in its name.
fn scope() -> Scope {
    let attached = |byte, links: &[(&str, &str)]| Attached {
        network: NetworkId::from_bytes([byte; 32]),
        links: links.iter().map(|(alias, name)| ((*alias).to_owned(), (*name).to_owned())).collect(),
    };
    Scope {
        cluster: None,
        view: Arc::new(DnsView {
            networks: vec![attached(1, &[("db", "database")]), attached(2, &[])],
            forward: Forward::Upstream(vec![Upstream {
                address: SocketAddr::from(([192, 0, 2, 53], 53)),
                by: Way::Host,
            }]),
            unqualified: Unqualified::Forward,
        }),
        networks: vec![
            network(
                "back",
                &[
                    ("Web web-alias 0123456789ab", "172.18.0.2"),
                    ("database", "172.18.0.3"),
                    ("api.v1", "172.18.0.4 fd00:18::4"),
                    ("worker-1 worker", "172.18.0.11"),
                    ("worker-2 worker", "172.18.0.12"),
                    ("worker-3 worker", "172.18.0.13"),
                ],
            ),
            network("net.front", &[("web", "172.19.0.2 fd00:19::2"), ("six", "fd00:19::6")]),
        ],
    }
}

fn with(change: impl FnOnce(&mut DnsView)) -> Scope {
    let mut scope = scope();
    let mut view = (*scope.view).clone();
    change(&mut view);
    scope.view = Arc::new(view);
    scope
}

pub(super) fn query(name: &str, kind: &str) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("{name}.")).unwrap();
    message.add_query(Question::query(name, RecordType::from_str(kind).unwrap()));
    message
}

/// The verdict as text: `forward`, `drop`, or the code and the records, with flags that are not always the same.
pub(super) fn ask(scope: &Scope, message: &Message, transport: Transport, turn: usize) -> String {
    let packet = message.to_vec().unwrap();
    let mut out = Vec::new();
    match answer(scope, &packet, transport, turn, &mut out) {
        Verdict::Drop => "drop".into(),
        Verdict::Forward { question } => {
            assert_eq!(question, packet.len() - wire::HEADER);
            "forward".into()
        }
        Verdict::Follow { target } => format!("follow {target}"),
        Verdict::Reply => text(message, &out),
    }
}

fn text(query: &Message, reply: &[u8]) -> String {
    let reply = Message::from_vec(reply).unwrap();
    assert_eq!(reply.metadata.id, query.metadata.id);
    assert_eq!(reply.metadata.message_type, MessageType::Response);
    assert!(reply.metadata.recursion_available && !reply.metadata.authoritative);
    assert_eq!(reply.metadata.recursion_desired, query.metadata.recursion_desired);
    assert!(reply.queries[0].name().eq_case(query.queries[0].name()), "the question comes back letter by letter");
    let truncated = if reply.metadata.truncation { " truncated" } else { "" };
    let edns = if reply.edns.is_some() { " edns" } else { "" };
    let records: Vec<_> = reply.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
    format!("{}{truncated}{edns}: {}", reply.metadata.response_code, records.join(", "))
}

fn check(scope: &Scope, name: &str, kind: &str, expected: &str) {
    assert_eq!(ask(scope, &query(name, kind), Transport::Udp, 0), expected, "{name} {kind}");
}

#[test]
fn answers() {
    let scope = scope();
    for (name, kind, expected) in [
        ("web", "A", "No Error: web. A 172.18.0.2"),
        ("wEb", "A", "No Error: wEb. A 172.18.0.2"),
        ("web-alias", "A", "No Error: web-alias. A 172.18.0.2"),
        ("0123456789ab", "A", "No Error: 0123456789ab. A 172.18.0.2"),
        ("web.back", "A", "No Error: web.back. A 172.18.0.2"),
        ("web.net.front", "A", "No Error: web.net.front. A 172.19.0.2"),
        ("WEB.NET.Front", "A", "No Error: WEB.NET.Front. A 172.19.0.2"),
        ("web.front", "A", "forward"),
        ("api.v1", "A", "No Error: api.v1. A 172.18.0.4"),
        ("api.v1.back", "AAAA", "No Error: api.v1.back. AAAA fd00:18::4"),
        ("db", "A", "No Error: db. A 172.18.0.3"),
        ("db.back", "A", "No Error: db.back. A 172.18.0.3"),
        ("db.net.front", "A", "forward"),
        // The name has no such record on the first network, but on the second.
        ("web", "AAAA", "No Error: web. AAAA fd00:19::2"),
        // It exists, so nobody outside is to hear of it.
        ("database", "AAAA", "No Error: "),
        ("six", "A", "No Error: "),
        ("web", "MX", "No Error: "),
        ("web", "TXT", "No Error: "),
        ("web", "HTTPS", "No Error: "),
        ("api.v1", "ANY", "No Error: api.v1. A 172.18.0.4, api.v1. AAAA fd00:18::4"),
        ("2.0.18.172.in-addr.arpa", "PTR", "No Error: 2.0.18.172.in-addr.arpa. PTR Web.back."),
        ("2.0.19.172.in-addr.arpa", "PTR", "No Error: 2.0.19.172.in-addr.arpa. PTR web.net.front."),
        (
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.1.0.0.0.0.d.f.ip6.arpa",
            "PTR",
            "forward", // 28 digits only
        ),
        (
            "6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.1.0.0.0.0.D.F.ip6.arpa",
            "PTR",
            "No Error: 6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.9.1.0.0.0.0.D.F.ip6.arpa. PTR six.net.front.",
        ),
        ("9.9.9.9.in-addr.arpa", "PTR", "forward"),
        ("web", "PTR", "No Error: "),
        ("unknown", "A", "forward"),
        ("example.org", "A", "forward"),
        ("back", "A", "forward"),
    ] {
        check(&scope, name, kind, expected);
    }
}

#[test]
fn a_shared_name_starts_with_another_address_each_time() {
    let scope = scope();
    let address = |n| format!("worker. A 172.18.0.1{n}");
    for (turn, order) in [(0, [1, 2, 3]), (1, [2, 3, 1]), (2, [3, 1, 2]), (3, [1, 2, 3]), (usize::MAX, [1, 2, 3])] {
        let expected = format!("No Error: {}", order.map(address).join(", "));
        assert_eq!(ask(&scope, &query("worker", "A"), Transport::Udp, turn), expected, "turn {turn}");
    }
}

#[test]
fn names_of_the_outside() {
    let no_servers = with(|view| view.forward = Forward::Upstream(vec![]));
    let internal = with(|view| view.forward = Forward::Refuse);
    let keeps = with(|view| view.unqualified = Unqualified::Keep);
    for (scope, name, kind, expected) in [
        (&no_servers, "example.org", "A", "Server Failure: "),
        (&no_servers, "web", "A", "No Error: web. A 172.18.0.2"),
        (&internal, "example.org", "A", "Server Failure: "),
        (&internal, "unknown", "A", "Server Failure: "),
        (&keeps, "unknown", "A", "No Error: "),
        (&keeps, "unknown", "AAAA", "No Error: "),
        (&keeps, "unknown", "TXT", "forward"),
        (&keeps, "example.org", "A", "forward"),
    ] {
        check(scope, name, kind, expected);
    }
}

#[test]
fn edns() {
    let scope = scope();
    let ask = |change: &dyn Fn(&mut Edns)| {
        let mut message = query("web", "A");
        let mut edns = Edns::new();
        change(&mut edns);
        message.set_edns(edns);
        ask(&scope, &message, Transport::Udp, 0)
    };
    assert_eq!(ask(&|_| {}), "No Error edns: web. A 172.18.0.2");
    let version_1 = |edns: &mut Edns| {
        edns.set_version(1);
    };
    // Code 16 is BADVERS in EDNS and BADSIG in TSIG; the library prints the latter.
    assert_eq!(ask(&version_1), "TSIG Failure edns: ");
}

#[test]
fn large_answers_are_truncated_to_what_the_client_takes() {
    let mut scope = scope();
    let addresses: Vec<_> = (0..200).map(|n| format!("10.0.0.{n}")).collect();
    scope.networks[0] = network("back", &[("many", &addresses.join(" "))]);
    // 12 octets of header, 10 of question, 16 for each address; EDNS itself takes 11.
    for (transport, payload, expected) in [
        (Transport::Udp, None, (30, true)),
        (Transport::Udp, Some(100), (29, true)),
        (Transport::Udp, Some(1232), (74, true)),
        (Transport::Udp, Some(65_535), (200, false)),
        (Transport::Tcp, None, (200, false)),
    ] {
        let mut message = query("many", "A");
        if let Some(payload) = payload {
            message.set_edns(Edns::new()).edns.as_mut().unwrap().set_max_payload(payload);
        }
        let mut out = Vec::new();
        answer(&scope, &message.to_vec().unwrap(), transport, 0, &mut out);
        let reply = Message::from_vec(&out).unwrap();
        assert_eq!((reply.answers.len(), reply.metadata.truncation), expected, "{transport:?} {payload:?}");
    }
}

/// What is not a query, as hexadecimal digits. The corpus grows by a file whenever a packet was treated wrongly.
#[test]
fn corpus() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/dns");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let (expected, digits) = text.split_once('\n').unwrap();
        let digits: Vec<_> = digits.chars().filter(char::is_ascii_hexdigit).collect();
        let octet = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        let packet: Vec<_> = digits.chunks(2).map(octet).collect();
        let mut out = Vec::new();
        let found = match answer(&scope(), &packet, Transport::Udp, 0, &mut out) {
            Verdict::Reply => format!("reply {}", out[3] & 0x0f),
            verdict => format!("{verdict:?}").to_lowercase(),
        };
        assert_eq!(found, expected, "{}", file.display());
    }
}

#[test]
fn replies_are_believed_only_if_they_answer_the_query() {
    let question = query("example.org", "A");
    let sent = question.to_vec().unwrap();
    let expected = &sent[wire::HEADER..];
    let reply = |change: &dyn Fn(&mut Message)| {
        let mut message = question.clone().into_response();
        change(&mut message);
        message.to_vec().unwrap()
    };
    let other_question = |message: &mut Message| message.queries = query("evil.org", "A").queries;
    for (name, packet, believed) in [
        ("plain", reply(&|_| {}), true),
        ("other case", reply(&|m| m.queries = query("EXAMPLE.org", "A").queries), true),
        ("other id", reply(&|m| m.metadata.id = 0x4321), false),
        ("a query", sent.clone(), false),
        ("other name", reply(&other_question), false),
        ("other type", reply(&|m| m.queries = query("example.org", "AAAA").queries), false),
        ("no question", reply(&|m| m.queries.clear()), false),
        ("empty", vec![], false),
        ("cut", reply(&|_| {})[..20].to_vec(), false),
    ] {
        assert_eq!(wire::answers(&packet, 0x1234, expected), believed, "{name}");
    }
    let mut refusal = reply(&|m| m.queries.clear());
    refusal[3] |= 5;
    assert!(wire::answers(&refusal, 0x1234, expected), "a refusal need not repeat the question");
}

fn label() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_-]{1,63}"
}

proptest! {
    #[test]
    fn any_packet_gets_a_readable_reply_or_none(packet in prop::collection::vec(any::<u8>(), 0..600), turn: usize) {
        let mut out = Vec::new();
        if answer(&scope(), &packet, Transport::Udp, turn, &mut out) == Verdict::Reply {
            let reply = Message::from_vec(&out).unwrap();
            prop_assert_eq!(reply.metadata.id, wire::id(&packet));
            prop_assert!(out.len() <= wire::MAX_UDP);
        }
    }

    #[test]
    fn a_damaged_query_gets_a_readable_reply_or_none(at: prop::sample::Index, octet: u8, cut: prop::sample::Index) {
        let mut message = query("worker.back", "A");
        message.set_edns(Edns::new());
        let mut packet = message.to_vec().unwrap();
        let at = at.index(packet.len());
        packet[at] = octet;
        packet.truncate(cut.index(packet.len()) + 1);
        let mut out = Vec::new();
        if answer(&scope(), &packet, Transport::Udp, 0, &mut out) == Verdict::Reply {
            Message::from_vec(&out).unwrap();
        }
    }

    #[test]
    fn questions_are_read_as_others_write_them(
        labels in prop::collection::vec(label(), 0..4),
        kind: u16,
        payload in prop::option::of(any::<u16>()),
    ) {
        prop_assume!(kind != 41);
        let mut message = query("", "A");
        let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
        message.queries = vec![Question::query(name, RecordType::from(kind))];
        if let Some(payload) = payload {
            message.set_edns(Edns::new()).edns.as_mut().unwrap().set_max_payload(payload);
        }
        let packet = message.to_vec().unwrap();
        let read = wire::Query::parse(&packet).unwrap();
        prop_assert_eq!(read.kind, kind);
        let name = read.name.unwrap();
        prop_assert_eq!(name.as_str().unwrap(), labels.join(".").to_lowercase());
        prop_assert_eq!(read.edns.is_some(), payload.is_some());
    }

    #[test]
    fn reverse_names_are_read_as_others_write_them(address: IpAddr) {
        let packet = query(Name::from(address).to_ascii().trim_end_matches('.'), "PTR").to_vec().unwrap();
        prop_assert_eq!(wire::Query::parse(&packet).unwrap().name.unwrap().reverse(), Some(address));
    }
}
