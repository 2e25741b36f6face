//! A small state for tests, with every kind of network and sandbox.

use std::sync::Arc;

use model::address::{Chosen, Mac, Subnet};
use model::change::{Change, Record};
use model::endpoint::{EndpointWish, Lease, Link, LinkTarget};
use model::network::{Bridge, Driver, GatewayMode, Icc, Masquerade, Names, Network, Origin, Reach};
use model::sandbox::{DnsWish, Namespace, Sandbox, Up};
use model::{ContainerId, Endpoint, EndpointId, NetworkId, SandboxId, State};

fn network(n: u8, name: &str, names: Names, reach: Reach) -> Record {
    let subnet = |net: String| Subnet {
        net: net.parse().unwrap(),
        range: None,
        gateway: (n == 17).then(|| "172.17.0.1".parse().unwrap()),
        reserved: Default::default(),
        next_hop: None,
        chosen: Chosen::FromPool,
    };
    let bridge = Bridge {
        link: format!("br-{n}"),
        ipv4: (n != 21).then(|| subnet(format!("172.{n}.0.0/16"))),
        ipv6: (n == 19 || n == 21).then(|| subnet(format!("fd00:{n}::/64"))),
        mtu: 1500,
        reach,
        icc: Icc::Allowed,
        gateway_ipv4: GatewayMode::Nat,
        gateway_ipv6: GatewayMode::Nat,
        masquerade_ipv4: Masquerade::Outgoing,
        masquerade_ipv6: Masquerade::Outgoing,
        host_binding: None,
        trusted_links: vec![],
        names,
        ifname_prefix: "eth".into(),
        announce: model::network::Announce::Told,
        others: Default::default(),
        addresses: Vec::new(),
    };
    Record::Network(Arc::new(Network {
        id: NetworkId::from_bytes([n; 32]),
        name: name.into(),
        created_ms: 0,
        driver: Driver::Bridge(bridge),
        origin: Origin::User,
        labels: Default::default(),
        face: Default::default(),
    }))
}

fn sandbox(n: u8, name: &str) -> Sandbox {
    Sandbox {
        id: SandboxId::from_bytes([n; 32]),
        namespace: Namespace::Own,
        names: vec![name.into(), ContainerId::from_bytes([n; 32]).short().into()],
        hostname: format!("host-{n}"),
        domainname: String::new(),
        dns: DnsWish::default(),
        extra_hosts: vec![],
        sysctls: Default::default(),
        exposed: Vec::new(),
        ports: vec![],
        published: vec![],
        up: Up::Up,
        stays: Default::default(),
    }
}

fn container(n: u8, name: &str) -> Record {
    use model::container::*;
    let own = || Share::Own;
    Record::Container(Arc::new(Container {
        id: ContainerId::from_bytes([n; 32]),
        name: name.into(),
        created_ms: 0,
        image: Image { id: String::new(), name: String::new() },
        sandbox: SandboxId::from_bytes([n; 32]),
        process: Process {
            args: vec![],
            env: vec![],
            cwd: "/".into(),
            user: String::new(),
            groups: vec![],
            memberships: Memberships::UnlessGroup,
            terminal: Terminal::None,
            stdin: Stdin::Closed,
            init: Init::Program,
        },
        mounts: vec![],
        resources: Resources::default(),
        security: Security {
            privilege: Privilege::Usual,
            cap_add: vec![],
            cap_drop: vec![],
            seccomp: Seccomp::Usual,
            root: Access::ReadWrite,
            no_new_privileges: false,
            masked_paths: None,
            readonly_paths: None,
            devices: vec![],
            device_rules: vec![],
            sysctls: Default::default(),
            oom_score_adj: 0,
        },
        namespaces: Namespaces { pid: own(), ipc: own(), uts: own(), cgroup: own() },
        restart: Restart::No,
        stop: Stop { signal: 15, timeout_s: 10 },
        health_check: None,
        log: Log::None,
        after_exit: AfterExit::Keep,
        external_runtime: None,
        labels: Default::default(),
        annotations: Default::default(),
        want: Want::Running,
        phase: Phase::Created,
        restarts: 0,
        backoff_ms: 0,
        health: None,
    }))
}

/// The endpoint of sandbox `s` on network `n` has the address 172.n.0.s; on network 19 also fd00:19::s, on 21 only fd00:21::s.
fn endpoint(n: u8, s: u8, wish: EndpointWish) -> Record {
    let lease = Lease {
        ipv4: (n != 21).then(|| format!("172.{n}.0.{s}/16").parse().unwrap()),
        ipv6: (n == 19 || n == 21).then(|| format!("fd00:{n}::{s}/64").parse().unwrap()),
        mac: Mac([2, 0, 0, 0, n, s]),
        ifname: "eth0".into(),
        host_ifname: format!("veth{n}-{s}"),
        host_mac: Mac([2, 0, 0, 1, n, s]),
    };
    let mut id = [n; 32];
    id[0] = s;
    Record::Endpoint(Arc::new(Endpoint {
        id: EndpointId::from_bytes(id),
        network: NetworkId::from_bytes([n; 32]),
        sandbox: SandboxId::from_bytes([s; 32]),
        wish,
        lease: Some(lease),
    }))
}

fn wish(change: impl FnOnce(&mut EndpointWish)) -> EndpointWish {
    let mut wish = EndpointWish::default();
    change(&mut wish);
    wish
}

/// Network 17 is the default one, 18, 19 (also IPv6) and 21 (IPv6 only) have names, 20 is internal. Sandbox 2, which may be changed,
/// is on 18, 19 and 20; 3 on 17 and 19; 4 on 17; 5 on 20; 6 on 21.
pub fn state(change: impl FnOnce(&mut Sandbox)) -> State {
    let link = |alias: &str| Link { to: LinkTarget::Container(ContainerId::from_bytes([3; 32])), alias: alias.into() };
    let mut two = sandbox(2, "Web");
    change(&mut two);
    let puts = vec![
        network(17, "bridge", Names::HostsFile, Reach::Outside),
        network(18, "front", Names::Dns, Reach::Outside),
        network(19, "back", Names::Dns, Reach::Outside),
        network(20, "vault", Names::Dns, Reach::Internal),
        network(21, "six", Names::Dns, Reach::Outside),
        container(2, "Web"),
        container(3, "db"),
        container(4, "plain"),
        Record::Sandbox(Arc::new(two)),
        Record::Sandbox(Arc::new(sandbox(3, "db"))),
        Record::Sandbox(Arc::new(sandbox(4, "plain"))),
        Record::Sandbox(Arc::new(sandbox(5, "locked"))),
        endpoint(18, 2, wish(|wish| wish.aliases = vec!["www".into()])),
        endpoint(19, 2, wish(|wish| wish.links = vec![link("Data")])),
        endpoint(20, 2, wish(|wish| wish.gateway_priority = 9)),
        endpoint(19, 3, EndpointWish::default()),
        endpoint(17, 3, EndpointWish::default()),
        endpoint(17, 4, wish(|wish| wish.links = vec![link("data"), link("db")])),
        Record::Sandbox(Arc::new(sandbox(6, "modern"))),
        endpoint(20, 5, EndpointWish::default()),
        endpoint(21, 6, EndpointWish::default()),
    ];
    State::default().with(&Change { puts, deletes: vec![] })
}
