//! Services as text:
//!
//! ```text
//! cluster pods=10.1.0.0/24 services=10.96.0.0/16 node=192.0.2.1 network=app
//! service web at=10.96.0.1 port=80/tcp,http,30080 external=192.0.2.7 balancer=192.0.2.9 sticky=60 internal=local outside=local
//! endpoints web-1 of=web port=8080,http 10.1.0.2 10.1.0.3,here,draining
//! ```

use model::{
    Cluster, Command, EndpointSlice, NamespacedName,
    port::Protocol,
    service::{
        Affinity, Backend, ClusterDns, Condition, Meant, Place, Report, ServicePort, ServiceReport, ServiceWish,
        SlicePort, TrafficPolicy, Unready,
    },
};

use super::Stage;

/// The command of a line; none for another verb.
pub fn command(stage: &mut Stage, verb: &str, words: &[&str]) -> Option<Command> {
    let changes = |put, removes| Report::Changes { puts: Vec::from_iter(put), removes };
    let report = match verb {
        "cluster" => return Some(Command::SetCluster(Box::new(cluster(stage, words)))),
        "leave-cluster" => return Some(Command::LeaveCluster),
        "service" => ServiceReport { services: changes(Some(service(words)), vec![]), ..ServiceReport::default() },
        "endpoints" => ServiceReport { slices: all_or(Some(slice(words)), vec![]), ..ServiceReport::default() },
        "remove-service" => ServiceReport { services: changes(None, names(words)), ..ServiceReport::default() },
        "remove-endpoints" => ServiceReport { slices: all_or(None, names(words)), ..ServiceReport::default() },
        // What there is of each kind, all of it.
        "only-services" => {
            let kept = names(words).into_iter().filter_map(|name| stage.state.services.get(&name).cloned());
            let all = Report::All(kept.map(|service| service.wish.clone()).collect());
            ServiceReport { services: all, ..ServiceReport::default() }
        }
        "only-endpoints" => {
            let kept = names(words).into_iter().filter_map(|name| stage.state.slices.get(&name).cloned());
            let all = Report::All(kept.map(|slice| (*slice).clone()).collect());
            ServiceReport { slices: all, ..ServiceReport::default() }
        }
        _ => return None,
    };
    Some(Command::ReportServices(Box::new(report)))
}

fn all_or(put: Option<EndpointSlice>, removes: Vec<NamespacedName>) -> Report<EndpointSlice> {
    Report::Changes { puts: Vec::from_iter(put), removes }
}

fn names(words: &[&str]) -> Vec<NamespacedName> {
    words.iter().map(|word| name(word)).collect()
}

fn name(text: &str) -> NamespacedName {
    NamespacedName::new("default", text)
}

fn cluster(stage: &mut Stage, words: &[&str]) -> Cluster {
    let mut cluster = Cluster::default();
    for (key, value) in words.iter().filter_map(|word| word.split_once('=')) {
        match key {
            "pods" => cluster.pod_ranges.push(value.parse().unwrap()),
            "services" => cluster.service_ranges.push(value.parse().unwrap()),
            "node" => cluster.node_addresses.push(value.parse().unwrap()),
            "balancers" => cluster.balancer_ranges.push(value.parse().unwrap()),
            "network" => cluster.pod_network = Some(stage.network(value)),
            "dns" => {
                let dns = cluster.dns.get_or_insert(ClusterDns { addresses: vec![], domain: "cluster.local".into() });
                dns.addresses.push(value.parse().unwrap());
            }
            other => panic!("no such cluster option: {other}"),
        }
    }
    cluster
}

fn policy(text: &str) -> TrafficPolicy {
    if text == "local" { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn service(words: &[&str]) -> ServiceWish {
    let mut wish = ServiceWish {
        name: name(words[0]),
        cluster_addresses: vec![],
        external_addresses: vec![],
        balancer_addresses: vec![],
        balancer_sources: vec![],
        ports: vec![],
        affinity: Affinity::None,
        internal: TrafficPolicy::Cluster,
        external: TrafficPolicy::Cluster,
        health_check_port: None,
        unready: Unready::LeftOut,
        external_name: None,
    };
    for word in &words[1..] {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "at" => wish.cluster_addresses.push(value.parse().unwrap()),
            "external" => wish.external_addresses.push(value.parse().unwrap()),
            "balancer" => wish.balancer_addresses.push(value.parse().unwrap()),
            "from" => wish.balancer_sources.push(value.parse().unwrap()),
            "port" => wish.ports.push(port(value)),
            "sticky" => wish.affinity = Affinity::ClientIp { timeout_s: value.parse().unwrap() },
            "internal" => wish.internal = policy(value),
            "outside" => wish.external = policy(value),
            "check" => wish.health_check_port = Some(value.parse().unwrap()),
            "unready" => wish.unready = Unready::Served,
            "is" => wish.external_name = Some(value.to_owned()),
            other => panic!("no such service option: {other}"),
        }
    }
    wish
}

/// `PORT[/PROTOCOL][,NAME[,NODE PORT]]`
fn port(text: &str) -> ServicePort {
    let (SlicePort { name, protocol, port }, node_port) = slice_port(text);
    ServicePort { name, protocol, port, node_port }
}

fn slice_port(text: &str) -> (SlicePort, Option<u16>) {
    let mut words = text.split(',');
    let (port, protocol) = words.next().map(|word| word.split_once('/').unwrap_or((word, "tcp"))).unwrap();
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => panic!("no such protocol: {other}"),
    };
    let name = words.next().unwrap_or_default().to_owned();
    (SlicePort { name, protocol, port: port.parse().unwrap() }, words.next().map(|word| word.parse().unwrap()))
}

fn slice(words: &[&str]) -> EndpointSlice {
    let mut slice =
        EndpointSlice { name: name(words[0]), service: name(words[0]), ports: Vec::new(), endpoints: Vec::new() };
    for word in &words[1..] {
        match word.split_once('=') {
            Some(("of", of)) => slice.service = name(of),
            Some(("port", text)) => slice.ports.push(slice_port(text).0),
            Some((other, _)) => panic!("no such option of endpoints: {other}"),
            None => slice.endpoints.push(backend(word)),
        }
    }
    slice
}

fn backend(text: &str) -> Backend {
    let mut words = text.split(',');
    let address = words.next().unwrap().parse().unwrap();
    let (condition, place, meant) = Default::default();
    let mut backend = Backend { address, condition, place, meant, hostname: None };
    for word in words {
        match word {
            "here" => backend.place = Place::Here,
            "draining" => backend.condition = Condition::Draining,
            "unready" => backend.condition = Condition::Unready,
            "others" => backend.meant = Meant::ForOthers,
            hostname => backend.hostname = Some(hostname.to_owned()),
        }
    }
    backend
}
