//! Scenarios at random: few names, so that commands meet each other, and everything that can collide does.

use proptest::{collection::vec, prelude::*, sample::select};

/// Lines of a scenario, after the daemon has started.
pub fn lines() -> impl Strategy<Value = Vec<String>> {
    let networks = [network(Just("a")), network(Just("b")), network(Just("c"))];
    (networks, vec(line(), 1..40)).prop_map(|(networks, lines)| networks.into_iter().chain(lines).collect())
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => network(net()),
        5 => container(),
        3 => (on_container(), placed()).prop_map(|(name, place)| format!("connect {name} {place}")),
        2 => (on_container(), net()).prop_map(|(name, net)| format!("disconnect {name} {net}")),
        8 => (select(&["run", "run", "start", "started", "exit", "exit", "stop", "kill"][..]), on_container())
            .prop_map(|(verb, name)| format!("{verb} {name}")),
        3 => (select(&["pause", "unpause", "due", "recover", "check", "fail", "oom"][..]), on_container())
            .prop_map(|(verb, name)| format!("{verb} {name}")),
        1 => (on_container(), on_container()).prop_map(|(from, to)| format!("rename {from} {to}")),
        2 => (on_container(), select(&["", "force", "force volumes"][..])).prop_map(|(n, how)| format!("remove {n} {how}")),
        1 => net().prop_map(|net| format!("remove-network {net}")),
        1 => Just("remove-volume v".to_owned()),
        4 => service(),
        6 => endpoints(),
        1 => service_name().prop_map(|name| format!("remove-service {name}")),
        1 => service_name().prop_map(|name| format!("only-services {name}")),
        1 => select(&["remove-endpoints e0", "only-endpoints e1", "remove-endpoints e2"][..]).prop_map(str::to_owned),
        1 => cluster(),
        1 => Just("leave-cluster".to_owned()),
        1 => select(&["open", "open listeners=off"][..]).prop_map(str::to_owned),
    ]
}

fn network(name: impl Strategy<Value = &'static str>) -> impl Strategy<Value = String> {
    let subnet = select(&["", "subnet=10.1.0.0/29", "subnet=10.1.0.0/24 range=10.1.0.16/29", "subnet=10.2.0.0/30"][..]);
    let ipv6 = select(&["", "ipv6", "subnet6=fd00:1::/125", "ipv6 no-ipv4", "ipv6 mode6=routed"][..]);
    let more =
        select(&["", "", "", "internal", "icc=off", "icc=off", "mode4=routed", "binding=127.0.0.1", "trust=eth9"][..]);
    (name, subnet, ipv6, more).prop_map(|(name, subnet, ipv6, more)| format!("network {name} {subnet} {ipv6} {more}"))
}

fn cluster() -> impl Strategy<Value = String> {
    let more = select(
        &[
            "",
            "node=192.0.2.1",
            "node=192.0.2.1 node=2001:db8::1 node=127.0.0.1",
            "network=a",
            "network=a balancers=192.0.2.8/29",
        ][..],
    );
    more.prop_map(|more| format!("cluster pods=10.1.0.0/24 pods=fd00:1::/64 services=10.96.0.0/16 {more}"))
}

fn service_name() -> impl Strategy<Value = &'static str> {
    select(&["s0", "s1", "s2"][..])
}

/// Services that want the same addresses now and then.
fn service() -> impl Strategy<Value = String> {
    let at = select(
        &["at=10.96.0.1", "at=10.96.0.2", "at=10.96.0.3 at=fd00:96::3", "at=10.96.0.1 external=192.0.2.7", ""][..],
    );
    let ports = select(&["port=80", "port=80,,30080", "port=80/udp,u port=80/tcp,t,30080", "port=53/udp,,30080"][..]);
    let more = select(
        &["", "", "sticky=60", "internal=local", "outside=local", "unready", "balancer=192.0.2.9 from=192.0.2.0/25"][..],
    );
    (service_name(), at, ports, more).prop_map(|(name, at, ports, more)| format!("service {name} {at} {ports} {more}"))
}

fn endpoints() -> impl Strategy<Value = String> {
    let end = select(
        &["10.1.0.2", "10.1.0.3,here", "10.1.0.18,draining", "10.2.0.2,here,draining", "192.0.2.99", "fd00:1::2"][..],
    );
    let port = select(&["port=80", "port=8080/udp", "port=80/udp,u port=81/tcp,t"][..]);
    (select(&["e0", "e1", "e2"][..]), service_name(), port, vec(end, 0..20))
        .prop_map(|(name, of, port, ends)| format!("endpoints {name} of={of} {port} {}", ends.join(" ")))
}

fn container() -> impl Strategy<Value = String> {
    let other = on_container().prop_map(|other| format!("container:{other}"));
    let nets = prop_oneof![
        6 => vec(placed(), 0..3).prop_map(|nets| nets.iter().map(|net| format!("net={net} ")).collect::<String>()),
        1 => Just("net=host".to_owned()),
        1 => Just("net=none".to_owned()),
        1 => Just("net=bridge".to_owned()),
        1 => other.prop_map(|net| format!("net={net}")),
    ];
    let more =
        select(&["", "restart=always", "restart=on-failure:1", "rm", "anonymous=x:/x", "volume=v:/v", "health"][..]);
    let ports =
        vec(port(), 0..3).prop_map(|ports| ports.iter().map(|port| format!("publish={port} ")).collect::<String>());
    (on_container(), nets, ports, more)
        .prop_map(|(name, nets, ports, more)| format!("container {name} {nets} {ports} {more}"))
}

fn port() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "80",
            "80:80",
            "80:80/udp",
            "127.0.0.1:80:80",
            "[::1]:80:80",
            "80-82:80-82",
            "81-90:80",
            "81:90/sctp",
            "8000-8100:8000-8100",
            "8050:9",
            "90-99",
            "443",
            "65530-65535:1-6",
        ][..],
    )
}

/// An endpoint with wishes.
fn placed() -> impl Strategy<Value = String> {
    let more = select(
        &[
            "",
            "",
            "",
            ",ip=10.1.0.3",
            ",priority=3",
            ",ifname=eth1",
            ",mac=02:00:00:00:00:01",
            ",link=c0:zero",
            ",link=c1:one",
            ",alias=www",
        ][..],
    );
    (net(), more).prop_map(|(net, more)| format!("{net}{more}"))
}

fn net() -> impl Strategy<Value = &'static str> {
    select(&["a", "a", "b", "c", "bridge"][..])
}

fn on_container() -> impl Strategy<Value = &'static str> {
    select(&["c0", "c1", "c2", "c3"][..])
}
