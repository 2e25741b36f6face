use std::sync::Arc;

use arc_swap::ArcSwap;
use hickory_proto::op::{Edns, Message};
use model::{
    Change, Cluster, EndpointSlice, Record, Service, State,
    port::Protocol,
    service::{Backend, ClusterDns, ServicePort, ServiceWish, SlicePort},
};
use plan::dns::{DnsView, Forward, Unqualified, Upstream, Way, cluster_names};

use crate::dns::{
    answer::{Scope, Transport, follow},
    tests::{ask, query},
};

/// `default/web` at 10.96.0.1 and fd00:96::1, and the headless `default/many` with so many endpoints.
fn scope(endpoints: u8) -> Scope {
    let dns = ClusterDns { addresses: vec![], domain: "Cluster.Local.".into() };
    let service_ranges = vec!["10.96.0.0/16".parse().unwrap()];
    let cluster = Cluster { dns: Some(dns), service_ranges, ..Cluster::default() };
    let service = |name: &str, addresses: &[&str], external: Option<&str>| {
        let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, node_port: None };
        let wish = ServiceWish {
            name: name.into(),
            cluster_addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            external_addresses: vec![],
            balancer_addresses: vec![],
            balancer_sources: vec![],
            ports: vec![port],
            affinity: Default::default(),
            internal: Default::default(),
            external: Default::default(),
            health_check_port: None,
            unready: Default::default(),
            external_name: external.map(Into::into),
        };
        Record::Service(Arc::new(Service { wish, frontends: vec![], contested: vec![], slots: vec![] }))
    };
    let backend = |n: u8| {
        let (condition, place, meant) = Default::default();
        Backend { address: [10, 244, 0, n].into(), condition, place, meant, hostname: Some(format!("many-{n}")) }
    };
    let slice = EndpointSlice {
        name: "default/many-1".into(),
        service: "default/many".into(),
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: (1..=endpoints).map(backend).collect(),
    };
    let puts = vec![
        Record::Cluster(Arc::new(cluster)),
        service("default/web", &["10.96.0.1", "fd00:96::1"], None),
        service("default/many", &[], None),
        service("default/near", &[], Some("web.default.svc.cluster.local")),
        service("default/far", &[], Some("example.org")),
        Record::EndpointSlice(Arc::new(slice)),
    ];
    let names = cluster_names(&State::default().with(&Change { puts, deletes: vec![] })).unwrap();
    let upstream = Upstream { address: ([192, 0, 2, 53], 53).into(), by: Way::Host };
    let forward = Forward::Upstream(vec![upstream]);
    let view = DnsView { networks: vec![], forward, unqualified: Unqualified::Forward };
    Scope { view: Arc::new(view), networks: vec![], cluster: Some(Arc::new(ArcSwap::from_pointee(names))) }
}

#[test]
fn answers() {
    let scope = scope(2);
    for (name, kind, expected) in [
        ("web.default.svc.cluster.local", "A", "No Error: web.default.svc.cluster.local. A 10.96.0.1"),
        ("Web.Default.SVC.cluster.local", "AAAA", "No Error: Web.Default.SVC.cluster.local. AAAA fd00:96::1"),
        ("web.default.svc.cluster.local", "MX", "No Error: "),
        (
            "web.default.svc.cluster.local",
            "SRV",
            "No Error: web.default.svc.cluster.local. SRV 0 100 80 web.default.svc.cluster.local.",
        ),
        (
            "_http._tcp.many.default.svc.cluster.local",
            "SRV",
            "No Error: _http._tcp.many.default.svc.cluster.local. SRV 0 100 8080 many-1.many.default.svc.cluster.local., \
             _http._tcp.many.default.svc.cluster.local. SRV 0 100 8080 many-2.many.default.svc.cluster.local.",
        ),
        ("_tcp.many.default.svc.cluster.local", "SRV", "No Error: "),
        ("many-2.many.default.svc.cluster.local", "A", "No Error: many-2.many.default.svc.cluster.local. A 10.244.0.2"),
        ("many-3.many.default.svc.cluster.local", "A", "Non-Existent Domain: "),
        // What search lists make of `example.org`: no such name, so that the client goes on.
        ("example.org.default.svc.cluster.local", "A", "Non-Existent Domain: "),
        ("example.org.svc.cluster.local", "A", "Non-Existent Domain: "),
        ("example.org.cluster.local", "A", "Non-Existent Domain: "),
        ("example.org", "A", "forward"),
        ("default.svc.cluster.local", "A", "No Error: "),
        ("10-244-0-9.default.pod.cluster.local", "A", "No Error: 10-244-0-9.default.pod.cluster.local. A 10.244.0.9"),
        ("1.0.96.10.in-addr.arpa", "PTR", "No Error: 1.0.96.10.in-addr.arpa. PTR web.default.svc.cluster.local."),
        ("2.0.96.10.in-addr.arpa", "PTR", "Non-Existent Domain: "),
        ("9.9.9.9.in-addr.arpa", "PTR", "forward"),
        ("dns-version.cluster.local", "TXT", "No Error: dns-version.cluster.local. TXT 1.1.0"),
        (
            "near.default.svc.cluster.local",
            "A",
            "No Error: near.default.svc.cluster.local. CNAME web.default.svc.cluster.local., \
             web.default.svc.cluster.local. A 10.96.0.1",
        ),
        ("far.default.svc.cluster.local", "A", "follow example.org"),
        ("far.default.svc.cluster.local", "CNAME", "No Error: far.default.svc.cluster.local. CNAME example.org."),
    ] {
        assert_eq!(ask(&scope, &query(name, kind), Transport::Udp, 0), expected, "{name} {kind}");
    }
}

#[test]
fn what_is_not_there_is_not_asked_again_for_a_while() {
    let mut out = Vec::new();
    let asked = query("nobody.default.svc.cluster.local", "A");
    crate::dns::answer::answer(&scope(1), &asked.to_vec().unwrap(), Transport::Udp, 0, &mut out);
    let reply = Message::from_vec(&out).unwrap();
    let authorities: Vec<_> = reply.authorities.iter().map(ToString::to_string).collect();
    let soa = "cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5";
    assert_eq!(authorities, [soa]);
}

#[test]
fn long_answers_are_truncated_for_those_who_take_no_more() {
    let scope = scope(200);
    let mut asked = query("many.default.svc.cluster.local", "A");
    let count = |message: &Message, transport| {
        let told = ask(&scope, message, transport, 0);
        (told.contains("truncated"), told.matches(" A 10.244").count())
    };
    assert_eq!(count(&asked, Transport::Tcp), (false, 200));
    assert!(count(&asked, Transport::Udp).0);
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    asked.set_edns(edns);
    assert_eq!(count(&asked, Transport::Udp), (false, 200));
}

#[test]
fn names_outside_are_told_with_what_was_heard() {
    let asked = query("far.default.svc.cluster.local", "A").to_vec().unwrap();
    let mut heard = query("example.org", "A");
    heard.metadata.message_type = hickory_proto::op::MessageType::Response;
    for address in ["192.0.2.1", "192.0.2.2"] {
        let name = heard.queries[0].name().clone();
        let address = hickory_proto::rr::RData::A(address.parse().unwrap());
        heard.add_answer(hickory_proto::rr::Record::from_rdata(name, 60, address));
    }
    let mut out = Vec::new();
    follow(&asked, "example.org", &heard.to_vec().unwrap(), Transport::Udp, &mut out);
    let reply = Message::from_vec(&out).unwrap();
    let told: Vec<_> = reply.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
    assert_eq!(
        told,
        ["far.default.svc.cluster.local. CNAME example.org.", "example.org. A 192.0.2.1", "example.org. A 192.0.2.2"]
    );
}
