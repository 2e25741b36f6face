//! What the sandboxes of the fixture are told about names.

use std::net::IpAddr;
use std::sync::Arc;

use model::change::{Change, Record};
use model::sandbox::{ExtraHost, HostAddress, Namespace, Sandbox};
use model::{NetworkId, SandboxId, State};
use proptest::prelude::*;

use super::fixture::state;
use super::*;

const HOST: &str = "nameserver 127.0.0.53\nnameserver 10.0.0.53\n";

fn id(n: u8) -> SandboxId {
    SandboxId::from_bytes([n; 32])
}

#[test]
fn names_of_a_network() {
    let state = state(|_| {});
    let text = |n: u8| {
        let names = network_names(&state, &NetworkId::from_bytes([n; 32])).unwrap();
        let line = |(name, found): (&str, &Addresses)| format!("{name} {:?} {:?}\n", found.v4, found.v6);
        names.iter().map(line).collect::<String>()
    };
    assert_eq!(
        text(18),
        "020202020202 [172.18.0.2] []\nhost-2 [172.18.0.2] []\nweb [172.18.0.2] []\nwww [172.18.0.2] []\n"
    );
    assert_eq!(
        text(19),
        "020202020202 [172.19.0.2] [fd00:19::2]\n030303030303 [172.19.0.3] [fd00:19::3]\ndb [172.19.0.3] [fd00:19::3]\n\
         host-2 [172.19.0.2] [fd00:19::2]\nhost-3 [172.19.0.3] [fd00:19::3]\nweb [172.19.0.2] [fd00:19::2]\n"
    );
    let names = network_names(&state, &NetworkId::from_bytes([18; 32])).unwrap();
    assert_eq!(names.pointer("172.18.0.2".parse().unwrap()), Some("Web.front"));
    assert_eq!(names.pointer("172.18.0.3".parse().unwrap()), None);
    assert!(network_names(&state, &NetworkId::from_bytes([99; 32])).is_none());
}

#[test]
fn the_view_of_a_sandbox() {
    let host = ResolvConf::parse(HOST);
    let view = dns_view(&state(|_| {}), &id(2), &host).unwrap();
    let networks: Vec<_> = view.networks.iter().map(|attached| attached.network.as_str()[..2].to_owned()).collect();
    assert_eq!(networks, ["13", "12", "14"], "by name, the internal one last: back, front, vault");
    assert_eq!(view.networks[0].links, [("data".to_owned(), "db".to_owned())].into());
    assert!(view.networks[1].links.is_empty());

    let view = dns_view(&state(|_| {}), &id(3), &host).unwrap();
    assert_eq!(view.networks.len(), 1, "the default network has no names");
    assert_eq!(dns_view(&state(|_| {}), &id(4), &host), None, "so a sandbox on it alone has no server");
    assert_eq!(dns_view(&state(|two| two.namespace = Namespace::Host), &id(2), &host), None);
}

/// `ADDRESS` by the sandbox's own network, `host:ADDRESS` by the host's.
fn said(upstream: &Upstream) -> String {
    let way = if upstream.by == Way::Host { "host:" } else { "" };
    format!("{way}{}", upstream.address.ip())
}

#[test]
fn servers_outside() {
    let addresses = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
    let check = |sandbox: u8, servers: &[&str], expected: &str| {
        let mut state = state(|two| two.dns.servers = addresses(servers));
        if sandbox == 5 {
            let mut five = sandbox_of(&state, 5);
            five.dns.servers = addresses(servers);
            state = state.with(&Change { puts: vec![Record::Sandbox(Arc::new(five))], deletes: vec![] });
        }
        let view = dns_view(&state, &id(sandbox), &ResolvConf::parse(HOST)).unwrap();
        let found = match &view.forward {
            Forward::Upstream(list) => list.iter().map(said).collect::<Vec<_>>().join(" "),
            Forward::Refuse => "refuse".to_owned(),
        };
        assert_eq!(found, expected, "sandbox {sandbox} with {servers:?}");
    };
    check(2, &[], "host:127.0.0.53 10.0.0.53");
    check(2, &["9.9.9.9"], "9.9.9.9");
    check(2, &["127.0.0.11", "9.9.9.9", "127.0.0.1"], "9.9.9.9 127.0.0.1");
    check(2, &["2620:fe::fe"], "2620:fe::fe");

    check(2, &["127.0.0.11"], "");
    check(2, &["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"], "1.1.1.1 2.2.2.2 3.3.3.3");
    // On an internal network only: nothing leaves, but a server on the network itself may be asked.
    check(5, &[], "refuse");
    check(5, &["9.9.9.9"], "refuse");
    check(5, &["172.20.0.7", "9.9.9.9"], "172.20.0.7");
    check(5, &["127.0.0.1"], "127.0.0.1");
}

fn sandbox_of(state: &State, n: u8) -> Sandbox {
    (*state.sandboxes[&id(n)]).clone()
}

#[test]
fn hosts_files() {
    const LOCALHOST: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                             ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";
    let extra = |name: &str, address| ExtraHost { name: name.into(), address };
    let full = state(|two| {
        two.domainname = "example.org".into();
        two.extra_hosts = vec![
            extra("printer", HostAddress::Is("10.0.0.9".parse().unwrap())),
            extra("host.docker.internal", HostAddress::HostGateway),
        ];
    });
    let expected = "10.0.0.9\tprinter\n172.17.0.1\thost.docker.internal\n172.19.0.2\thost-2.example.org host-2\n\
                    fd00:19::2\thost-2.example.org host-2\n172.18.0.2\thost-2.example.org host-2\n\
                    172.20.0.2\thost-2.example.org host-2\n";
    assert_eq!(hosts_file(&full, &id(2)), Some(format!("{LOCALHOST}{expected}")));
    let linked = "172.17.0.3\tdata host-3 db\n172.17.0.3\tdb host-3\n172.17.0.4\thost-4\n";
    assert_eq!(hosts_file(&full, &id(4)), Some(format!("{LOCALHOST}{linked}")));

    let host = state(|two| two.namespace = Namespace::Host);
    assert_eq!(hosts_file(&host, &id(2)), None, "the host's own file");
}

#[test]
fn resolv_conf_of_each_kind_of_sandbox() {
    let host = HostFiles { file: ResolvConf::parse(HOST), behind_stub: None };
    let servers = |state: &State, n: u8| {
        let text = resolv_conf(state, &id(n), &host).unwrap();
        let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver "));
        servers.collect::<Vec<_>>().join(" ")
    };
    let plain = state(|_| {});
    assert_eq!(servers(&plain, 2), "127.0.0.11");
    assert_eq!(servers(&plain, 3), "127.0.0.11", "on the default network too, but one with names is enough");
    assert_eq!(servers(&plain, 4), "10.0.0.53");
    let in_the_hosts = state(|two| two.namespace = Namespace::Host);
    assert_eq!(servers(&in_the_hosts, 2), "127.0.0.53 10.0.0.53");

    // Only who does not share the host's loopback has to ask whom the stub asks.
    let behind = Some(ResolvConf::parse("nameserver 10.0.0.1"));
    let host = HostFiles { file: ResolvConf::parse("nameserver 127.0.0.53"), behind_stub: behind };
    for (state, n, line) in [
        (&plain, 2, "# ExtServers: [host(127.0.0.53)]"),
        (&plain, 4, "nameserver 10.0.0.1\n\n# Based on host file: '/run/systemd/resolve/resolv.conf' (legacy)"),
        (&in_the_hosts, 2, "nameserver 127.0.0.53"),
    ] {
        let text = resolv_conf(state, &id(n), &host).unwrap();
        assert!(text.contains(line), "{text}");
    }
}

proptest! {
    /// Endpoints that come and go one by one leave the table that the rest of them makes.
    #[test]
    fn changes_one_by_one_equal_the_whole(
        endpoints in prop::collection::vec((prop::collection::vec("[a-c]|long{20}", 0..4), prop::bool::ANY), 0..20),
    ) {
        let named = |(n, (names, _)): (usize, &(Vec<String>, bool))| EndpointNames {
            names: names.clone(),
            addresses: vec![IpAddr::from([10, 0, 0, n as u8])],
        };
        let mut one_by_one = NetworkNames::new("net");
        endpoints.iter().enumerate().map(named).for_each(|endpoint| one_by_one.insert(&endpoint));
        endpoints.iter().enumerate().filter(|(_, (_, stays))| !stays).map(named).for_each(|gone| one_by_one.remove(&gone));
        let mut whole = NetworkNames::new("net");
        endpoints.iter().enumerate().filter(|(_, (_, stays))| *stays).map(named).for_each(|stays| whole.insert(&stays));
        prop_assert_eq!(one_by_one, whole);
    }
}
