//! What one endpoint costs: CPU and wall time of creating and deleting a namespace with a veth on a bridge, addresses and default
//! routes. `cargo run --example endpoint_cost [N]`, as root; it works in namespaces of its own.

use std::{collections::BTreeSet, error::Error, time::Instant};

use ipnet::IpNet;
use kernel::{Linux, socket::in_private_namespaces};
use netstate::{
    Kernel, Key, NetState, Object, Op, Plan,
    addr::{Addr, AddrKey},
    link::{Admin, BridgePort, Hairpin, Link, LinkKey, LinkKind, MacAddr},
    netns::{Netns, NetnsName},
    route::{MAIN, Route, RouteKey},
    sysctl::{Sysctl, SysctlKey},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let number = std::env::args().nth(1).map_or(Ok(50), |text| text.parse())?;
    let run_dir = tempfile::tempdir()?;
    in_private_namespaces(|| {
        rustix::mount::mount("none", run_dir.path(), "tmpfs", rustix::mount::MountFlags::empty(), None)?;
        let mut linux = Linux::open(run_dir.path())?;
        run(&mut linux, &creation(&bridge()?))?;
        let endpoints = (1..=number).map(endpoint).collect::<Outcome<Vec<_>>>()?;
        measure("create one endpoint", &endpoints, |e| run(&mut linux, &creation(e)))?;
        let whole = [()];
        measure("observe all", &whole, |()| linux.observe(&BTreeSet::new()).map(drop).map_err(Into::into))?;
        measure("delete one veth", &endpoints[..endpoints.len() / 2], |e| run(&mut linux, &deletion(e, is_veth)))?;
        measure("create one veth", &endpoints[..endpoints.len() / 2], |e| {
            run(&mut linux, &creation(&without_netns(e)))
        })?;
        measure("delete one namespace", &endpoints, |e| run(&mut linux, &deletion(e, is_netns)))?;
        measure("delete the bridge", &whole, |()| run(&mut linux, &deletion(&bridge()?, is_link)))?;
        Ok(())
    })?
}

/// Median CPU and wall time in microseconds.
fn measure<T>(what: &str, of: &[T], mut action: impl FnMut(&T) -> Outcome<()>) -> Outcome<()> {
    let mut costs = Vec::new();
    for one in of {
        let (cpu, wall) = (cpu_us(), Instant::now());
        action(one)?;
        costs.push((cpu_us() - cpu, wall.elapsed().as_micros()));
    }
    let mut cpu: Vec<_> = costs.iter().map(|c| c.0).collect();
    let mut wall: Vec<_> = costs.iter().map(|c| c.1).collect();
    cpu.sort_unstable();
    wall.sort_unstable();
    println!("{what}: cpu {} us, wall {} us (median of {})", cpu[cpu.len() / 2], wall[wall.len() / 2], of.len());
    Ok(())
}

fn cpu_us() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn run(linux: &mut Linux, plan: &Plan) -> Outcome<()> {
    linux.apply(plan).fault.map_or(Ok(()), |fault| Err(fault.into()))
}

fn creation(state: &NetState) -> Plan {
    let op = |(key, object): (&Key, &Object)| Op::Create { key: key.clone(), object: object.clone() };
    Plan { ops: state.objects.iter().map(op).collect() }
}

/// A namespace takes all in it along, and with its end of a veth the other one.
fn deletion(state: &NetState, which: fn(&Key) -> bool) -> Plan {
    let op =
        |(key, object): (&Key, &Object)| Op::Delete { key: key.clone(), object: object.clone(), with: BTreeSet::new() };
    Plan { ops: state.objects.iter().filter(|(key, _)| which(key)).map(op).collect() }
}

fn is_netns(key: &Key) -> bool {
    matches!(key, Key::Netns(_))
}

fn is_link(key: &Key) -> bool {
    matches!(key, Key::Link(_))
}

fn is_veth(key: &Key) -> bool {
    matches!(key, Key::Link(LinkKey { netns: NetnsName::Host, .. }))
}

fn without_netns(state: &NetState) -> NetState {
    let objects = state.objects.iter().filter(|(key, _)| !is_netns(key));
    NetState { objects: objects.map(|(key, object)| (key.clone(), object.clone())).collect() }
}

fn bridge() -> Outcome<NetState> {
    let mut state = NetState::default();
    let key = LinkKey { netns: NetnsName::Host, name: "br0".parse()? };
    let alias = Some("linkspan:network/bench".into());
    let link = |alias| Link {
        kind: LinkKind::Bridge,
        mac: MacAddr([2, 0, 0, 0, 0, 1]),
        mtu: 1500,
        admin: Admin::Up,
        port: None,
        alias,
    };
    state.put(key.clone(), link(alias));
    state.put(AddrKey { link: key, address: "172.17.0.1/16".parse()? }, Addr {});
    Ok(state)
}

fn endpoint(number: u16) -> Outcome<NetState> {
    let mut state = NetState::default();
    let [a, b] = number.to_be_bytes();
    let netns = NetnsName::named(format!("c{number}"));
    let near = LinkKey { netns: NetnsName::Host, name: format!("v{number}").parse()? };
    let far = LinkKey { netns: netns.clone(), name: "eth0".parse()? };
    let mac = MacAddr([2, 0x42, 0xac, 0x11, a, b]);
    let link = |kind, mac, port, alias| Link { kind, mac, mtu: 1500, admin: Admin::Up, port, alias };
    let veth = LinkKind::Veth { peer: far.clone(), peer_mac: mac };
    let port = Some(BridgePort { bridge: "br0".parse()?, hairpin: Hairpin::On });
    state.put(netns.clone(), Netns {});
    state.put(near.clone(), link(veth, MacAddr([2, 1, 1, 1, a, b]), port, Some(format!("linkspan:endpoint/{number}"))));
    state.put(far.clone(), link(LinkKind::VethPeer { of: near }, mac, None, None));
    let disable_ipv6 = SysctlKey { netns: netns.clone(), path: "net/ipv6/conf/eth0/disable_ipv6".into() };
    state.put(disable_ipv6, Sysctl { value: "1".into() });
    state.put(AddrKey { link: far.clone(), address: format!("172.17.{a}.{}/16", b.wrapping_add(1)).parse()? }, Addr {});
    let destination: IpNet = "0.0.0.0/0".parse()?;
    let key = RouteKey { netns, table: MAIN, destination, metric: 0 };
    state.put(key, Route { device: far.name, via: Some("172.17.0.1".parse()?) });
    Ok(state)
}
