use std::sync::Arc;

use model::{
    Cluster, EndpointSlice, Record, Service,
    service::{ClusterDns, ServicePort, ServiceWish, SlicePort},
};

use super::*;

fn wish(name: &str, addresses: &[&str], ports: &[(&str, Protocol, u16)]) -> ServiceWish {
    let port = |(name, protocol, port): &(&str, Protocol, u16)| ServicePort {
        name: (*name).into(),
        protocol: *protocol,
        port: *port,
        node_port: None,
    };
    ServiceWish {
        name: name.into(),
        cluster_addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        external_addresses: vec![],
        balancer_addresses: vec![],
        balancer_sources: vec![],
        ports: ports.iter().map(port).collect(),
        affinity: Default::default(),
        internal: Default::default(),
        external: Default::default(),
        health_check_port: None,
        unready: Default::default(),
        external_name: None,
    }
}

fn end(address: &str, hostname: Option<&str>, condition: Condition) -> Backend {
    let (place, meant) = Default::default();
    Backend { address: address.parse().unwrap(), condition, place, meant, hostname: hostname.map(Into::into) }
}

fn state() -> State {
    use Protocol::{Tcp, Udp};
    let dns = ClusterDns { addresses: vec!["10.96.0.10".parse().unwrap()], domain: "cluster.local".into() };
    let service_ranges = vec!["10.96.0.0/16".parse().unwrap()];
    let cluster = Cluster { dns: Some(dns), service_ranges, ..Cluster::default() };
    let mut outside = wish("default/outside", &[], &[]);
    outside.external_name = Some("Example.com.".into());
    let wishes = [
        wish("default/web", &["10.96.0.1", "fd00:96::1"], &[("http", Tcp, 80), ("dns", Udp, 53), ("", Tcp, 81)]),
        wish("shop/db", &[], &[("sql", Tcp, 5432)]),
        wish("shop/empty", &[], &[]),
        outside,
    ];
    let service =
        |wish| Record::Service(Arc::new(Service { wish, frontends: vec![], contested: vec![], slots: vec![] }));
    let slice = EndpointSlice {
        name: "shop/db-1".into(),
        service: "shop/db".into(),
        ports: vec![SlicePort { name: "sql".into(), protocol: Tcp, port: 5433 }],
        endpoints: vec![
            end("10.244.0.7", Some("db-0"), Condition::Ready),
            end("10.244.0.8", None, Condition::Ready),
            end("10.244.0.9", None, Condition::Draining),
        ],
    };
    let mut change = model::Change { puts: wishes.into_iter().map(service).collect(), deletes: vec![] };
    change.puts.push(Record::Cluster(Arc::new(cluster)));
    change.puts.push(Record::EndpointSlice(Arc::new(slice)));
    State::default().with(&change)
}

fn tell(found: Option<Found<'_>>) -> String {
    let all = |addresses: &Addresses| {
        let v4 = addresses.v4.iter().map(ToString::to_string);
        v4.chain(addresses.v6.iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
    };
    let targets = |targets: Vec<&Target>| {
        targets.iter().map(|target| format!("{}:{}", target.name, target.port)).collect::<Vec<_>>().join(" ")
    };
    match found {
        None => "not ours".into(),
        Some(Found::Addresses(addresses)) => all(addresses),
        Some(Found::Address(address)) => address.to_string(),
        Some(Found::Service(names)) => format!("{}; {}", all(names.addresses()), targets(names.targets().collect())),
        Some(Found::Alias(name) | Found::Pointer(name)) => name.into(),
        Some(Found::Targets(found)) => targets(found),
        Some(Found::Version(version)) => version.into(),
        Some(Found::Empty) => "empty".into(),
        Some(Found::Nothing) => "nothing".into(),
    }
}

#[test]
fn names_of_a_cluster() {
    let names = cluster_names(&state()).unwrap();
    for (name, expected) in [
        ("cluster.local", "empty"),
        ("mycluster.local", "not ours"),
        ("example.com", "not ours"),
        ("dns-version.cluster.local", "1.1.0"),
        ("svc.cluster.local", "empty"),
        ("other.cluster.local", "nothing"),
        ("default.svc.cluster.local", "empty"),
        ("nowhere.svc.cluster.local", "nothing"),
        (
            "web.default.svc.cluster.local",
            "10.96.0.1 fd00:96::1; web.default.svc.cluster.local:80 web.default.svc.cluster.local:53",
        ),
        ("web.shop.svc.cluster.local", "nothing"),
        ("x.web.default.svc.cluster.local", "nothing"),
        ("_tcp.web.default.svc.cluster.local", "empty"),
        ("_sctp.web.default.svc.cluster.local", "nothing"),
        ("_http._tcp.web.default.svc.cluster.local", "web.default.svc.cluster.local:80"),
        ("_dns._udp.web.default.svc.cluster.local", "web.default.svc.cluster.local:53"),
        ("_http._udp.web.default.svc.cluster.local", "nothing"),
        ("y._http._tcp.web.default.svc.cluster.local", "nothing"),
        (
            "db.shop.svc.cluster.local",
            "10.244.0.7 10.244.0.8; db-0.db.shop.svc.cluster.local:5433 10-244-0-8.db.shop.svc.cluster.local:5433",
        ),
        ("db-0.db.shop.svc.cluster.local", "10.244.0.7"),
        ("10-244-0-8.db.shop.svc.cluster.local", "10.244.0.8"),
        ("10-244-0-9.db.shop.svc.cluster.local", "nothing"),
        ("empty.shop.svc.cluster.local", "nothing"),
        ("outside.default.svc.cluster.local", "example.com"),
        ("10-244-0-7.default.pod.cluster.local", "10.244.0.7"),
        ("fd00-1--2.default.pod.cluster.local", "fd00:1::2"),
        ("10-244-0.default.pod.cluster.local", "nothing"),
        ("10-244-0-7.without-services.pod.cluster.local", "10.244.0.7"),
        ("default.pod.cluster.local", "empty"),
    ] {
        assert_eq!(tell(names.find(name)), expected, "{name}");
    }
    for (address, expected) in [
        ("10.96.0.1", "web.default.svc.cluster.local"),
        ("fd00:96::1", "web.default.svc.cluster.local"),
        ("10.244.0.7", "db-0.db.shop.svc.cluster.local"),
        ("10.96.0.77", "nothing"),
        ("192.0.2.1", "not ours"),
    ] {
        assert_eq!(tell(names.pointer(address.parse().unwrap())), expected, "{address}");
    }
}

#[test]
fn services_that_go_leave_nothing() {
    let state = state();
    let mut names = cluster_names(&state).unwrap();
    let without = State { services: Default::default(), ..state.clone() };
    state.services.keys().for_each(|service| names.update(&without, service));
    assert_eq!(names, cluster_names(&without).unwrap());
    state.services.keys().for_each(|service| names.update(&state, service));
    assert_eq!(names, cluster_names(&state).unwrap());
}
