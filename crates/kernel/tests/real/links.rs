//! Namespaces, links, addresses, routes and settings.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use netstate::{
    Kernel, Key, NetState, Object, Op, Plan,
    addr::{Addr, AddrKey},
    link::{Admin, Link},
    netns::{Netns, NetnsName},
    route::{MAIN, Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};

use crate::common::*;

#[test]
fn what_is_applied_is_observed_and_applying_twice_changes_nothing() {
    world(|run_dir| {
        let mut linux = Linux::open(run_dir).expect("to open");
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        endpoint(&mut state, 2);
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        for address in ["172.17.0.3", "fd00::3"] {
            let netns = format!("--net={}", linux.netns_path("c1").display());
            run("nsenter", &[&netns, "ping", "-c1", "-W10", address]);
        }
        apply(&mut linux, &deletion(&state));
        assert_observed(&mut linux, &NetState::default());
        apply(&mut linux, &deletion(&state));
        assert_eq!(std::fs::read_dir(run_dir.join("netns")).expect("the directory").count(), 0);
    });
}

fn linux(run_dir: &Path) -> Linux {
    Linux::open(run_dir).expect("to open")
}

fn change(state: &mut NetState, key: impl Into<Key>, to: impl Into<Object>) -> Op {
    let (key, to) = (key.into(), to.into());
    let from = state.objects.insert(key.clone(), to.clone()).expect("is there");
    Op::Change { key, from, to }
}

fn link_of(state: &NetState, key: &netstate::link::LinkKey) -> Link {
    match state.objects.get(&Key::Link(key.clone())) {
        Some(Object::Link(link)) => Link::clone(link),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn links_and_routes_change_in_place() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        apply(&mut linux, &creation(&state));
        let index = fs::read_to_string("/sys/class/net/v1/ifindex").ok();
        let mut ops = Vec::new();
        let bridge = Link {
            mtu: 1400,
            mac: mac(7),
            alias: Some("linkspan:network/other".into()),
            ..link_of(&state, &host("br0"))
        };
        ops.push(change(&mut state, host("br0"), bridge));
        let near = Link { port: None, admin: Admin::Down, mtu: 1400, ..link_of(&state, &host("v1")) };
        ops.push(change(&mut state, host("v1"), near));
        let far = Link { mtu: 1400, ..link_of(&state, &inside("c1", "eth0")) };
        ops.push(change(&mut state, inside("c1", "eth0"), far));
        let key = RouteKey { netns: NetnsName::named("c1"), table: MAIN, destination: net("0.0.0.0/0"), metric: 0 };
        ops.push(change(&mut state, key, Route { device: name("eth0"), via: "172.17.0.9".parse().ok() }));
        apply(&mut linux, &Plan { ops });
        assert_observed(&mut linux, &state);
        assert_eq!(fs::read_to_string("/sys/class/net/v1/ifindex").ok(), index, "the veth is the same one");
    });
}

#[test]
fn a_veth_that_moves_is_made_anew() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        apply(&mut linux, &creation(&state));
        // The namespace goes and comes back under the same name while the kernel still holds the first veth.
        let netns = Op::Delete { key: NetnsName::named("c1").into(), object: Netns {}.into(), with: BTreeSet::new() };
        apply(&mut linux, &Plan { ops: vec![netns] });
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
    });
}

#[test]
fn settings_are_per_namespace() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        let setting = |netns, path: &str| SysctlKey { netns, path: path.into() };
        let value = |value: &str| Sysctl { value: value.into() };
        state.put(setting(NetnsName::Host, "net/ipv4/conf/br0/route_localnet"), value("1"));
        state.put(setting(NetnsName::Host, "net/ipv4/ip_forward"), value("1"));
        state.put(setting(NetnsName::named("c1"), "net/ipv4/conf/eth0/arp_ignore"), value("2"));
        state.put(setting(NetnsName::named("c1"), "net/ipv4/ip_unprivileged_port_start"), value("0"));
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        let check = |linux: &mut Linux, key: SysctlKey, words: &str| {
            let op = Op::Create { key: key.into(), object: value("1").into() };
            let fault = linux.apply(&Plan { ops: vec![op] }).fault.expect("a fault").to_string();
            assert!(fault.contains(words), "{fault}");
        };
        check(&mut linux, setting(NetnsName::Host, "net/ipv4/conf/absent/route_localnet"), "no such setting");
        check(&mut linux, setting(NetnsName::Host, "../../etc/passwd"), "below /proc/sys");
        check(&mut linux, setting(NetnsName::named("c1"), "kernel/hostname"), "belong to a network namespace");
    });
}

#[test]
fn foreign_things_are_neither_seen_nor_touched_and_refusals_say_why() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        ip("link add br0 type bridge");
        ip("link add up0 type bridge");
        ip("link set up0 up");
        ip("address add 172.17.0.1/16 dev up0");
        ip("route add 10.8.0.0/16 dev up0");
        assert_observed(&mut linux, &NetState::default());
        let mut state = NetState::default();
        bridge(&mut state);
        let check = |linux: &mut Linux, key: Key, object: Object, expected: &str| {
            let report = linux.apply(&Plan { ops: vec![Op::Create { key, object }] });
            assert_eq!((report.done, report.fault.expect("a fault").to_string().as_str()), (0, expected));
        };
        let (key, object) = state.objects.iter().next().expect("the bridge");
        check(
            &mut linux,
            key.clone(),
            object.clone(),
            "cannot create link host:br0: File exists: a bridge br0 is there that linkspan did not make; \
             remove it with `ip link delete br0` or choose another name",
        );
        check(
            &mut linux,
            AddrKey { link: host("up0"), address: net("172.17.0.1/16") }.into(),
            Addr {}.into(),
            "cannot create address host:up0 172.17.0.1/16: File exists: the address 172.17.0.1/16 is already on link up0 \
             and not linkspan's; remove it with `ip address delete`",
        );
        check(
            &mut linux,
            AddrKey { link: host("none0"), address: net("172.17.0.1/16") }.into(),
            Addr {}.into(),
            "cannot create address host:none0 172.17.0.1/16: No such device: there is no link none0",
        );
        let route = |destination: &str| RouteKey {
            netns: NetnsName::Host,
            table: MAIN,
            destination: net(destination),
            metric: 0,
        };
        check(
            &mut linux,
            route("10.8.0.0/16").into(),
            Route { device: name("up0"), via: None }.into(),
            "cannot create route host:10.8.0.0/16 table 254 metric 0: File exists: \
             a route to 10.8.0.0/16 that linkspan did not make is there; see `ip route`",
        );
        let report = linux.apply(&Plan {
            ops: vec![Op::Create {
                key: route("10.9.0.0/16").into(),
                object: Route { device: name("up0"), via: "192.0.2.1".parse().ok() }.into(),
            }],
        });
        let fault = report.fault.expect("a fault").to_string();
        assert!(fault.contains("the gateway 192.0.2.1 must be on a network of link up0"), "{fault}");
        assert!(ip("-o link").contains("br0"));
    });
}

#[test]
fn what_an_earlier_boot_or_a_crash_left_is_put_right() {
    world(|run_dir| {
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        // A stale namespace file is an ordinary empty one.
        fs::create_dir_all(run_dir.join("netns")).expect("to make it");
        fs::write(run_dir.join("netns/c1"), "").expect("to write");
        let mut linux = linux(run_dir);
        assert_observed(&mut linux, &NetState::default());
        // A daemon that died between the two messages that make a link left one in our group without an alias.
        ip("link add br0 group 27763 type bridge");
        let seen = linux.observe(&BTreeSet::new()).expect("to observe");
        assert_eq!(seen.objects.len(), 1, "{seen:?}");
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
    });
}

#[test]
fn every_prefix_of_a_plan_can_be_followed_by_all_of_it() {
    world(|run_dir| {
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        endpoint(&mut state, 2);
        let plan = creation(&state);
        for done in 0..plan.ops.len() {
            let mut first = linux(run_dir);
            apply(&mut first, &Plan { ops: plan.ops[..done].to_vec() });
            drop(first);
            let mut second = linux(run_dir);
            apply(&mut second, &plan);
            assert_observed(&mut second, &state);
            apply(&mut second, &deletion(&state));
            assert_observed(&mut second, &NetState::default());
        }
    });
}

#[test]
fn fifty_endpoints_come_and_go_and_leave_nothing() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        let bridge_alone = state.clone();
        for number in 1..=50 {
            endpoint(&mut state, number);
        }
        apply(&mut linux, &creation(&state));
        assert_observed(&mut linux, &state);
        // A new daemon adopts them.
        assert_observed(&mut self::linux(run_dir), &state);
        // The namespaces alone: the kernel takes the veths along, soon.
        let is_netns = |op: &Op| matches!(op.key(), Key::Netns(_));
        let ops: Vec<Op> = deletion(&state).ops.into_iter().filter(is_netns).collect();
        apply(&mut linux, &Plan { ops });
        let deadline = Instant::now() + Duration::from_secs(20);
        while ip("-o link").contains("eth0") || ip("-o link show type veth").lines().count() > 0 {
            assert!(Instant::now() < deadline, "veths are left: {}", ip("-o link"));
            std::thread::yield_now();
        }
        assert_observed(&mut linux, &bridge_alone);
        assert_eq!(fs::read_dir(run_dir.join("netns")).expect("the directory").count(), 0);
        assert!(
            !fs::read_to_string("/proc/self/mountinfo")
                .expect("mounts")
                .contains(&run_dir.join("netns").display().to_string())
        );
    });
}

#[test]
fn many_links_are_deleted_at_once() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        for number in 1..=10 {
            endpoint(&mut state, number);
        }
        apply(&mut linux, &creation(&state));
        let near = |op: &Op| matches!(op.key(), Key::Link(key) if key.name.as_str().starts_with('v'));
        let ops: Vec<Op> = deletion(&state).ops.into_iter().filter(near).collect();
        ip("link delete v3");
        apply(&mut linux, &Plan { ops });
        assert_eq!(ip("-o link show type veth"), "");
        assert!(ip("-o link").contains("br0"));
    });
}

#[test]
fn what_is_deleted_is_gone_at_once_and_its_name_and_address_are_free() {
    world(|run_dir| {
        let mut linux = linux(run_dir);
        let mut state = NetState::default();
        bridge(&mut state);
        endpoint(&mut state, 1);
        let links = |op: &Op| matches!(op.key(), Key::Link(key) if key.netns == NetnsName::Host);
        let in_c1 = format!("--net={}", linux.netns_path("c1").display());
        for _ in 0..20 {
            apply(&mut linux, &creation(&state));
            for op in deletion(&state).ops.into_iter().filter(links) {
                let name = op.key().to_string();
                apply(&mut linux, &Plan { ops: vec![op] });
                let left = [ip("-o link"), run("ls", &["/proc/sys/net/ipv4/conf"])].concat();
                for link in ["br0", "v1"].iter().filter(|link| name.ends_with(*link)) {
                    assert!(!left.contains(link), "{link} is left: {left}");
                }
            }
            assert_eq!(run("nsenter", &[&in_c1, "ls", "/proc/sys/net/ipv4/conf"]), "all\ndefault\nlo\n");
        }
        apply(&mut linux, &creation(&state));
        let all = deletion(&state).ops.into_iter().filter(links).collect();
        apply(&mut linux, &Plan { ops: all });
        drop(linux);
        assert!(!ip("-o link").contains("br0"));
    });
}
