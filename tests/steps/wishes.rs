//! What a line of a scenario asks for, as the model's wishes. Everything that a line does not say is as usual.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use model::{
    Container, Document, EndpointId, Sandbox, SandboxId, Volume,
    address::Pool,
    command::{Connect, ContainerWish, NewEndpoint, NewSandbox, SandboxWish},
    container::{
        Access, AfterExit, Fill, HealthCheck, Image, Init, Log, Memberships, Mount, MountSource, Namespaces, Phase,
        Privilege, Process, Resources, Restart, Seccomp, Security, Share, Stdin, Stop, Terminal, Want,
    },
    endpoint::{EndpointWish, Link, LinkTarget},
    host::{DirectRouting, Forward, Listeners, MaskedMark, Settings},
    network::{
        Announce, BridgeAddress, BridgeWish, DriverWish, FamilyWish, GatewayMode, Icc, Masquerade, Names, NetworkWish,
        Origin, Others, Reach, SubnetWish,
    },
    port::{HostPorts, PortRange, PortWish, Protocol},
    sandbox::{DnsWish, Namespace, Stays, Up},
    volume::Naming,
};

use super::Stage;

/// `key=value`, or `key` alone.
fn pair<'w>(word: &'w &'w str) -> (&'w str, &'w str) {
    word.split_once('=').unwrap_or((word, ""))
}

pub fn settings(words: &[&str]) -> Settings {
    let mut settings = Settings {
        pools: vec![pool("172.17.0.0/16,16"), pool("172.18.0.0/15,16"), pool("192.168.0.0/16,20")],
        ..Settings::default()
    };
    let pools: Vec<_> =
        words.iter().map(pair).filter(|(name, _)| *name == "pool").map(|(_, value)| pool(value)).collect();
    if !pools.is_empty() {
        settings.pools = pools;
    }
    for (name, value) in words.iter().map(pair) {
        match name {
            "pool" => {}
            "bridge" => settings.default_network.link = Some(value.to_owned()),
            "bip" => settings.default_network.ipv4 = bip(value),
            "bip6" => settings.default_network.ipv6 = bip(value),
            "icc" if value == "off" => settings.default_network.icc = Icc::LinkedOnly,
            "masquerade" if value == "off" => settings.default_network.masquerade_ipv4 = Masquerade::Off,
            "forward" if value == "leave" => settings.forward = Forward::Leave,
            "direct-routing" => settings.direct_routing = DirectRouting::Allowed,
            "listeners" if value == "off" => settings.listeners = Listeners::Off,
            "accept-mark" => settings.accept_mark = Some(mark(value)),
            "mtu" => settings.mtu = Some(value.parse().unwrap()),
            "router" => settings.between_others = model::host::BetweenOthers::Forwarded,
            "publish" => settings.publish_address = Some(value.parse().unwrap()),
            other => panic!("no such setting: {other}"),
        }
    }
    settings
}

fn pool(text: &str) -> Pool {
    let (base, size) = text.split_once(',').unwrap();
    Pool { base: base.parse().unwrap(), size: size.parse().unwrap() }
}

fn bip(text: &str) -> FamilyWish {
    let net: IpNet = text.parse().unwrap();
    FamilyWish::Subnet(SubnetWish { gateway: Some(net.addr()), ..SubnetWish::of(net.trunc()) })
}

/// `VALUE/MASK`, hexadecimal.
fn mark(text: &str) -> MaskedMark {
    let (value, mask) = text.split_once('/').unwrap();
    let number = |text| u32::from_str_radix(text, 16).unwrap();
    MaskedMark { value: number(value), mask: number(mask) }
}

pub fn network(stage: &mut Stage, words: &[&str]) -> NetworkWish {
    let mut wish = BridgeWish {
        link: None,
        ipv4: FamilyWish::Pool,
        ipv6: FamilyWish::Off,
        mtu: None,
        reach: Reach::Outside,
        icc: Icc::Allowed,
        gateway_ipv4: GatewayMode::Nat,
        gateway_ipv6: GatewayMode::Nat,
        masquerade_ipv4: Masquerade::Outgoing,
        masquerade_ipv6: Masquerade::Outgoing,
        bridge_address: BridgeAddress::Set,
        host_binding: None,
        trusted_links: Vec::new(),
        names: Names::Dns,
        ifname_prefix: None,
        announce: Announce::Told,
        others: Others::Apart,
        addresses: Vec::new(),
    };
    let mut origin = Origin::User;
    for (name, value) in words[1..].iter().map(pair) {
        match name {
            "subnet" => wish.ipv4 = FamilyWish::Subnet(subnet(value)),
            "subnet6" => wish.ipv6 = FamilyWish::Subnet(subnet(value)),
            "ipv6" => wish.ipv6 = FamilyWish::Pool,
            "no-ipv4" => wish.ipv4 = FamilyWish::Off,
            "range" => edit(&mut wish.ipv4, |subnet| subnet.range = Some(value.parse().unwrap())),
            "gateway" => edit(&mut wish.ipv4, |subnet| subnet.gateway = Some(value.parse().unwrap())),
            "aux" => edit(&mut wish.ipv4, |subnet| {
                let (name, address) = value.split_once(':').unwrap();
                subnet.reserved.insert(name.to_owned(), address.parse().unwrap());
            }),
            "internal" => wish.reach = Reach::Internal,
            "icc" => wish.icc = if value == "off" { Icc::LinkedOnly } else { Icc::Allowed },
            "mode4" => wish.gateway_ipv4 = mode(value),
            "mode6" => wish.gateway_ipv6 = mode(value),
            "masq" if value == "off" => wish.masquerade_ipv4 = Masquerade::Off,
            "masq" => wish.masquerade_ipv4 = Masquerade::As(value.parse().unwrap()),
            "inhibit" => wish.bridge_address = BridgeAddress::Inhibited,
            "binding" => wish.host_binding = Some(value.parse().unwrap()),
            "trust" => wish.trusted_links.push(value.to_owned()),
            "mtu" => wish.mtu = Some(value.parse().unwrap()),
            "link" => wish.link = Some(value.to_owned()),
            "pods" => (origin, wish.others, wish.names) = (Origin::Cluster, Others::Reached, Names::HostsFile),
            "address" => wish.addresses.push(value.parse().unwrap()),
            "silent" => wish.announce = Announce::Silent,
            "prefix" => wish.ifname_prefix = Some(value.to_owned()),
            other => panic!("no such network option: {other}"),
        }
    }
    let name = words[0].to_owned();
    let id = model::NetworkId::from_bytes(stage.id("network", &name));
    let driver = DriverWish::Bridge(wish);
    NetworkWish { id, name, origin, driver, labels: BTreeMap::new(), face: Default::default() }
}

fn subnet(net: &str) -> SubnetWish {
    SubnetWish::of(net.parse().unwrap())
}

fn edit(family: &mut FamilyWish, change: impl FnOnce(&mut SubnetWish)) {
    match family {
        FamilyWish::Subnet(subnet) => change(subnet),
        _ => panic!("say subnet= first"),
    }
}

fn mode(text: &str) -> GatewayMode {
    match text {
        "nat" => GatewayMode::Nat,
        "nat-unprotected" => GatewayMode::NatUnprotected,
        "routed" => GatewayMode::Routed,
        "isolated" => GatewayMode::Isolated,
        other => panic!("no such gateway mode: {other}"),
    }
}

pub fn connect(stage: &mut Stage, words: &[&str]) -> Connect {
    let NewEndpoint { id, network, wish } = endpoint(stage, words[0], words[1]);
    Connect { id, container: stage.container(words[0]), network, wish }
}

/// `NET,ip=..,alias=..,priority=..`
fn endpoint(stage: &mut Stage, container: &str, text: &str) -> NewEndpoint {
    let mut words = text.split(',');
    let network = words.next().unwrap();
    let mut wish = EndpointWish::default();
    for (name, value) in words.map(|word| word.split_once('=').unwrap()) {
        match name {
            "ip" => wish.ipv4 = Some(value.parse().unwrap()),
            "ip6" => wish.ipv6 = Some(value.parse().unwrap()),
            "mac" => wish.mac = Some(value.parse().unwrap()),
            "alias" => wish.aliases.push(value.to_owned()),
            "priority" => wish.gateway_priority = value.parse().unwrap(),
            "ifname" => wish.ifname = Some(value.to_owned()),
            "link-local" => wish.link_local.push(value.parse().unwrap()),
            "sysctl" => {
                let (name, value) = value.split_once(':').unwrap();
                wish.sysctls.insert(name.to_owned(), value.to_owned());
            }
            "link" => {
                let (other, alias) = value.split_once(':').unwrap();
                let to = LinkTarget::Container(stage.container(other));
                wish.links.push(Link { to, alias: alias.to_owned() });
            }
            other => panic!("no such endpoint option: {other}"),
        }
    }
    let id = EndpointId::from_bytes(stage.id("endpoint", &format!("{container}/{network}")));
    NewEndpoint { id, network: stage.network(network), wish }
}

pub fn container(stage: &mut Stage, words: &[&str]) -> ContainerWish {
    let name = words[0];
    let mut container = usual(stage, name);
    let (mut nets, mut ports, mut volumes, mut shared) = (Vec::new(), Vec::new(), Vec::new(), None);
    let (mut namespace, mut sysctls, mut face) = (Namespace::Own, BTreeMap::new(), Document::default());
    for (key, value) in words[1..].iter().map(pair) {
        match key {
            "net" if value == "host" => {
                namespace = Namespace::Host;
                nets.push("host");
            }
            "net" => match value.split_once(':') {
                Some(("container", other)) => shared = Some(SandboxWish::Of(stage.container(other))),
                Some(("sandbox", pod)) => shared = Some(SandboxWish::In(stage.sandbox(pod))),
                _ => nets.push(value),
            },
            "publish" => ports.push(port(value)),
            "restart" => container.restart = restart(value),
            "rm" => container.after_exit = AfterExit::Remove,
            "pid" => container.namespaces.pid = Share::Container(stage.container(value)),
            "volume" | "anonymous" => {
                let (volume_name, target) = value.split_once(':').unwrap();
                volumes.push(volume(volume_name, if key == "anonymous" { &["anonymous"] } else { &[] }));
                container.mounts.push(mount(volume_name, target));
            }
            "label" => {
                let (name, value) = value.split_once(':').unwrap();
                container.labels.insert(name.to_owned(), value.to_owned());
            }
            "health" => container.health_check = Some(health_check()),
            "face" => face = Document::of(value).unwrap(),
            "sysctl" => {
                let (name, value) = value.split_once(':').unwrap();
                sysctls.insert(name.to_owned(), value.to_owned());
            }
            other => panic!("no such container option: {other}"),
        }
    }
    let sandbox = shared.unwrap_or_else(|| {
        let endpoints = nets.iter().map(|net| endpoint(stage, name, net)).collect();
        SandboxWish::New(NewSandbox { sandbox: sandbox(&container, namespace, ports, sysctls), endpoints })
    });
    ContainerWish { container, sandbox, volumes, face }
}

/// A sandbox by itself, as a pod has one: `NAME net=... publish=...`
pub fn pod(stage: &mut Stage, words: &[&str]) -> NewSandbox {
    let ContainerWish { sandbox, .. } = container(stage, words);
    let SandboxWish::New(mut new) = sandbox else { panic!("a pod has a sandbox of its own") };
    new.sandbox.names.clear();
    new.sandbox.hostname = words[0].to_owned();
    new
}

fn sandbox(
    container: &Container,
    namespace: Namespace,
    ports: Vec<PortWish>,
    sysctls: BTreeMap<String, String>,
) -> Sandbox {
    Sandbox {
        id: container.sandbox.clone(),
        namespace,
        names: vec![container.name.clone(), container.id.short().to_owned()],
        hostname: container.id.short().to_owned(),
        domainname: String::new(),
        dns: DnsWish::default(),
        extra_hosts: Vec::new(),
        sysctls,
        exposed: Vec::new(),
        ports,
        published: Vec::new(),
        up: Up::Down,
        stays: Stays::WithContainers,
    }
}

fn usual(stage: &mut Stage, name: &str) -> Container {
    let own = || Share::Own;
    Container {
        id: model::ContainerId::from_bytes(stage.id("container", name)),
        name: name.to_owned(),
        created_ms: stage.facts.now_ms,
        image: Image { id: format!("sha256:{}", "0".repeat(64)), name: "linkspan/demo".to_owned() },
        sandbox: SandboxId::from_bytes(stage.id("sandbox", name)),
        process: Process {
            args: vec!["/demo".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            groups: Vec::new(),
            memberships: Memberships::UnlessGroup,
            terminal: Terminal::None,
            stdin: Stdin::Closed,
            init: Init::Program,
        },
        mounts: Vec::new(),
        resources: Resources::default(),
        security: Security {
            privilege: Privilege::Usual,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            seccomp: Seccomp::Usual,
            root: Access::ReadWrite,
            no_new_privileges: false,
            masked_paths: None,
            readonly_paths: None,
            devices: Vec::new(),
            device_rules: Vec::new(),
            sysctls: BTreeMap::new(),
            oom_score_adj: 0,
        },
        namespaces: Namespaces { pid: own(), ipc: own(), uts: own(), cgroup: own() },
        restart: Restart::No,
        stop: Stop { signal: 15, timeout_s: 10 },
        health_check: None,
        log: Log::None,
        after_exit: AfterExit::Keep,
        external_runtime: None,
        annotations: BTreeMap::new(),
        labels: BTreeMap::new(),
        want: Want::Stopped,
        phase: Phase::Created,
        restarts: 0,
        backoff_ms: 0,
        health: None,
    }
}

fn health_check() -> HealthCheck {
    HealthCheck {
        args: vec!["/demo".to_owned()],
        interval_ms: 1000,
        timeout_ms: 1000,
        start_period_ms: 5000,
        start_interval_ms: 1000,
        retries: 2,
    }
}

fn mount(name: &str, target: &str) -> Mount {
    let source = MountSource::Volume { name: name.to_owned(), subpath: None, fill: Fill::FromImage };
    Mount { target: target.to_owned(), source, access: Access::ReadWrite }
}

pub fn volume(name: &str, words: &[&str]) -> Volume {
    let naming = if words.contains(&"anonymous") { Naming::Anonymous } else { Naming::Named };
    let options = words.iter().filter_map(|word| word.split_once('='));
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Volume { name: name.to_owned(), created_ms: 0, naming, options, labels: BTreeMap::new() }
}

pub fn restart(text: &str) -> Restart {
    match text.split_once(':') {
        Some(("on-failure", most)) => Restart::OnFailure { most: most.parse().unwrap() },
        _ => match text {
            "no" => Restart::No,
            "always" => Restart::Always,
            "unless-stopped" => Restart::UnlessStopped,
            "on-failure" => Restart::OnFailure { most: 0 },
            other => panic!("no such policy: {other}"),
        },
    }
}

/// `[IP:][HOST:]INSIDE[/PROTOCOL]`, an IPv6 address in brackets.
fn port(text: &str) -> PortWish {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => panic!("no such protocol: {other}"),
    };
    let (rest, inside) = text.rsplit_once(':').unwrap_or(("", text));
    let (address, host) = match rest.rsplit_once(':') {
        Some((address, host)) => (address, host),
        None if rest.contains('.') => (rest, ""),
        None => ("", rest),
    };
    let host_ip = (!address.is_empty()).then(|| address.trim_matches(['[', ']']).parse::<IpAddr>().unwrap());
    let host = if host.is_empty() { HostPorts::Any } else { HostPorts::Range(range(host)) };
    PortWish { protocol, inside: range(inside), host_ip, host }
}

/// `80` or `80-89`.
pub fn range(text: &str) -> PortRange {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    PortRange { first: first.parse().unwrap(), last: last.parse().unwrap() }
}
