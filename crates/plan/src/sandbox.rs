//! A sandbox: its namespace with settings and default routes, the way to the embedded DNS server, and its published ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{
    Sandbox, SandboxId, State,
    address::{Family, Subnet},
    network::Names,
    port::Protocol,
    sandbox::{Namespace, Up},
};
use netstate::{
    link::IfName,
    netns::{Netns, NetnsName},
    nft::{
        Action, Base, Chain, ChainKey, ChainType, Family as TableFamily, Field, Hook, Match, NatTarget, Op, Policy,
        Rule, Table, TableKey, Value,
    },
    route::{MAIN, Route, RouteKey},
};

use crate::{
    fragment::Fragment,
    names::{DNS, OUTPUT},
    port,
};

/// The port that resolver libraries ask (RFC 1035, 4.2).
const DOMAIN: u16 = 53;

/// What a sandbox comes to while it is up. One in the host's namespace has nothing of its own.
pub fn fragment(state: &State, id: &SandboxId) -> Option<Fragment> {
    let sandbox = state.sandboxes.get(id)?;
    if sandbox.up == Up::Down || sandbox.namespace == Namespace::Host {
        return None;
    }
    let mut fragment = Fragment::default();
    let netns = netns(sandbox);
    fragment.put(netns.clone(), Netns {});
    for (name, value) in &sandbox.sysctls {
        fragment.sysctl(&netns, name.replace('.', "/"), value.trim());
    }
    for family in Family::BOTH {
        default_route(&mut fragment, state, sandbox, family);
    }
    if has_embedded_dns(state, sandbox) {
        embedded_dns(&mut fragment, &netns);
    }
    port::publish(&mut fragment, state, sandbox);
    Some(fragment)
}

/// The namespace of a sandbox that has its own.
pub fn netns(sandbox: &Sandbox) -> NetnsName {
    NetnsName::named(sandbox.id.short())
}

/// Whether a sandbox has IPv6 at all.
pub fn has_ipv6(sandbox: &Sandbox) -> bool {
    sandbox.sysctls.get("net.ipv6.conf.all.disable_ipv6").is_none_or(|value| value.trim() != "1")
}

fn default_route(fragment: &mut Fragment, state: &State, sandbox: &Sandbox, family: Family) {
    let Some((endpoint, network, bridge)) = state.gateway(&sandbox.id, family) else { return };
    let device = endpoint.lease.as_ref().and_then(|lease| IfName::try_from(lease.ifname.clone()).ok());
    let via = bridge.subnet(family).and_then(Subnet::next_hop);
    let (Some(device), Some(via)) = (device, via) else { return };
    if family == Family::V6 && !has_ipv6(sandbox) {
        return;
    }
    let destination = match family {
        Family::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
        Family::V6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
    };
    let metric = if family == Family::V4 { 0 } else { IPV6_METRIC };
    let key = |destination| RouteKey { netns: netns(sandbox), table: MAIN, destination, metric };
    if network.is_routed() {
        // The gateway is the only neighbour.
        fragment.put(key(IpNet::from(via)), Route { device: device.clone(), via: None });
        if family == Family::V4 {
            fragment.sysctl(&netns(sandbox), "net/ipv4/conf/all/accept_redirects", "0");
        }
    }
    fragment.put(key(destination), Route { device, via: Some(via) });
}

/// The metric the kernel gives an IPv6 route that is added without one (`IP6_RT_PRIO_USER`).
const IPV6_METRIC: u32 = 1024;

fn has_embedded_dns(state: &State, sandbox: &Sandbox) -> bool {
    let networks = state.endpoints_of(&sandbox.id).filter_map(|endpoint| state.networks.get(&endpoint.network));
    networks.filter_map(|network| network.bridge()).any(|bridge| bridge.names == Names::Dns)
}

/// Port 53 of the embedded server's address is free for nobody to bind; queries are led to where it listens.
fn embedded_dns(fragment: &mut Fragment, netns: &NetnsName) {
    let table = TableKey { netns: netns.clone(), family: TableFamily::Inet };
    fragment.put(table.clone(), Table {});
    let rules = [Protocol::Udp, Protocol::Tcp].map(|protocol| Rule {
        name: "embedded DNS".to_owned(),
        matches: [
            (Field::Ip4Daddr, Value::Ipv4(*DNS.ip())),
            (Field::L4Proto, Value::Proto(protocol.number())),
            (Field::Dport, Value::Port(DOMAIN)),
        ]
        .map(|(field, value)| Match::Is { field, op: Op::Eq, value })
        .into(),
        action: Action::Dnat(NatTarget::To { address: IpAddr::V4(*DNS.ip()), port: Some(DNS.port()) }),
    });
    let base = Base { kind: ChainType::Nat, hook: Hook::Output, priority: -100, policy: Policy::Accept };
    let key = ChainKey { table, name: OUTPUT.to_owned() };
    fragment.put(key, Chain { base: Some(base), rules: rules.into() });
}
