//! A world of its own for each test: fresh network and mount namespaces on a thread, with a run directory in memory.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ipnet::IpNet;
use kernel::socket::in_private_namespaces;
use netstate::{
    Kernel, Key, NetState, Object, Op, Plan,
    addr::{Addr, AddrKey},
    diff,
    link::{Admin, BridgePort, Hairpin, IfName, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    route::{MAIN, Route, RouteKey},
};

pub use crate::linux::{Linux, ruleset, rulesets};

/// Runs a test in namespaces of its own, with the path of an empty run directory; at its end all rules must list and load again. Without
/// root it says so and passes.
pub fn world(test: impl FnOnce(&Path) + Send) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    in_private_namespaces(|| {
        rustix::mount::mount("none", directory.path(), "tmpfs", rustix::mount::MountFlags::empty(), None)
            .expect("a tmpfs");
        ip("link set lo up");
        test(directory.path());
        rulesets(directory.path());
    })
    .expect("namespaces");
}

/// Creates everything of a state, in order.
pub fn creation(state: &NetState) -> Plan {
    let op = |(key, object): (&Key, &Object)| Op::Create { key: key.clone(), object: object.clone() };
    Plan { ops: state.objects.iter().map(op).collect() }
}

/// Deletes everything of a state, in reverse order.
pub fn deletion(state: &NetState) -> Plan {
    let op =
        |(key, object): (&Key, &Object)| Op::Delete { key: key.clone(), object: object.clone(), with: BTreeSet::new() };
    Plan { ops: state.objects.iter().rev().map(op).collect() }
}

/// Applies a plan that must succeed.
pub fn apply(linux: &mut Linux, plan: &Plan) {
    let report = linux.apply(plan);
    assert!(report.fault.is_none(), "{}", report.fault.expect("just seen"));
    assert_eq!(report.done, plan.ops.len());
}

/// Applies the difference to what is seen, after which there must be none.
pub fn converge(linux: &mut Linux, wanted: &NetState, what: &str) {
    linux.expect(wanted);
    let plan = diff(wanted, &observe(linux, wanted));
    let report = linux.apply(&plan);
    assert!(report.fault.is_none(), "{what}: {}\n{plan}", report.fault.expect("just seen"));
    let seen = observe(linux, wanted);
    let rest = diff(wanted, &seen);
    assert!(rest.ops.is_empty(), "{what}: what is left to do is\n{rest}");
    assert!(wanted.objects.keys().eq(seen.objects.keys()), "{what}: wanted is\n{wanted}\nand seen\n{seen}");
}

/// What is there, with the settings that are wished.
fn observe(linux: &mut Linux, wanted: &NetState) -> NetState {
    let settings = wanted.objects.keys().filter(|key| matches!(key, Key::Sysctl(_))).cloned().collect();
    linux.observe(&settings).expect("to observe")
}

/// Observes what must be as `wanted`; shows what differs.
pub fn assert_observed(linux: &mut Linux, wanted: &NetState) {
    linux.expect(wanted);
    let seen = observe(linux, wanted);
    let difference: Vec<String> = wanted
        .objects
        .keys()
        .chain(seen.objects.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|key| wanted.objects.get(key) != seen.objects.get(key))
        .map(|key| format!("{key:?}\n  wanted {:?}\n  seen   {:?}", wanted.objects.get(key), seen.objects.get(key)))
        .collect();
    assert!(difference.is_empty(), "{}", difference.join("\n"));
}

/// Runs a command that must succeed, and gives what it prints.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {err}{out}");
    out.into_owned()
}

/// `ip ARGUMENTS`
pub fn ip(arguments: &str) -> String {
    run("ip", &arguments.split(' ').collect::<Vec<_>>())
}

/// Compares what nft lists with a golden file, or with UPDATE_GOLDEN=1 writes it. Each version of nft words some things its own way.
pub fn golden(name: &str, text: &str) {
    let version = run("nft", &["--version"]);
    if !version.contains("v1.0.6") {
        eprintln!("SKIPPED: the golden texts are those of nft 1.0.6, this is {version}");
        return;
    }
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("to make it");
        fs::write(&file, text).expect("to write");
    }
    let wanted = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(text, wanted, "differs from {}; UPDATE_GOLDEN=1 takes it over", file.display());
}

pub fn name(text: &str) -> IfName {
    text.parse().expect("an interface name")
}

pub fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

pub fn host(link: &str) -> LinkKey {
    LinkKey { netns: NetnsName::Host, name: name(link) }
}

pub fn inside(netns: &str, link: &str) -> LinkKey {
    LinkKey { netns: NetnsName::named(netns), name: name(link) }
}

pub fn mac(last: u16) -> MacAddr {
    let [a, b] = last.to_be_bytes();
    MacAddr([2, 0x42, 0xac, 0x11, a, b])
}

/// A bridge `br0` with 172.17.0.1/16 and fd00::1/64.
pub fn bridge(state: &mut NetState) {
    let key = host("br0");
    let link = Link {
        kind: LinkKind::Bridge,
        mac: mac(0xffff),
        mtu: 1500,
        admin: Admin::Up,
        port: None,
        alias: Some("linkspan:network/n1".into()),
    };
    state.put(key.clone(), link);
    for address in ["172.17.0.1/16", "fd00::1/64"] {
        state.put(AddrKey { link: key.clone(), address: net(address) }, Addr {});
    }
}

/// A namespace `cN` joined to `br0`, with an address, a default route and an IPv6 address.
pub fn endpoint(state: &mut NetState, number: u16) {
    let (netns, near) = (format!("c{number}"), host(&format!("v{number}")));
    let far = inside(&netns, "eth0");
    state.put(NetnsName::named(&netns), Netns {});
    let link = |kind, mac, port, alias| Link { kind, mac, mtu: 1500, admin: Admin::Up, port, alias };
    let veth = LinkKind::Veth { peer: far.clone(), peer_mac: mac(number) };
    let port = Some(BridgePort { bridge: name("br0"), hairpin: Hairpin::On });
    state.put(near.clone(), link(veth, mac(0x8000 | number), port, Some(format!("linkspan:endpoint/e{number}"))));
    state.put(far.clone(), link(LinkKind::VethPeer { of: near }, mac(number), None, None));
    let [a, b] = (number + 1).to_be_bytes();
    for address in [format!("172.17.{a}.{b}/16"), format!("fd00::{:x}/64", number + 1)] {
        state.put(AddrKey { link: far.clone(), address: net(&address) }, Addr {});
    }
    let route = |destination: &str, via: &str| {
        let destination = net(destination);
        // The kernel gives an IPv6 route one when it is asked for none.
        let metric = if destination.addr().is_ipv4() { 0 } else { 1024 };
        let key = RouteKey { netns: far.netns.clone(), table: MAIN, destination, metric };
        (key, Route { device: far.name.clone(), via: Some(via.parse().expect("an address")) })
    };
    for (key, route) in [route("0.0.0.0/0", "172.17.0.1"), route("::/0", "fd00::1")] {
        state.put(key, route);
    }
}
