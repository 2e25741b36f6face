//! A virtual packet: from what people call its ends to addresses, through the host, and to the reason of its end.

use std::net::IpAddr;

use kernel::probe::ForeignChain;
use model::{Sandbox, State, network::Reach, sandbox::Namespace};
use netstate::{
    NetState,
    netns::NetnsName,
    nft::{Hook, Policy},
    trace::{Cause, End, Hop, Origin, Packet, Surroundings, Trace, origin, trace as walk},
};

use super::labels;
use crate::admin::Protocol;

/// The source port of virtual packets.
const SOURCE_PORT: u16 = 49_152;

/// What is asked.
pub struct Asked<'a> {
    /// A container, `host`, or an address.
    pub source: &'a str,
    /// A container or an address, and a port.
    pub destination: &'a str,
    /// The packet's protocol.
    pub protocol: Protocol,
    /// What is on the host and not linkspan's.
    pub host: &'a Surroundings,
    /// Chains that are not linkspan's.
    pub foreign: &'a [ForeignChain],
}

/// Sends a packet and says what became of it.
pub fn trace(state: &State, asked: &Asked<'_>) -> Result<String, String> {
    let Asked { source, destination, protocol, host: around, .. } = *asked;
    let desired = plan::desired(state);
    let (host, port) = split(destination)?;
    let to = address(state, host).ok_or_else(|| unknown(host))?;
    let (from, source) = start(state, &desired.net, around, source)?;
    let proto = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Icmp => {
            if to.is_ipv4() {
                1
            } else {
                58
            }
        }
    };
    let packet = Packet { from, source, source_port: SOURCE_PORT, destination: to, port, proto };
    let trace = walk(&desired.net, around, &packet);
    let mut text = trace.to_string();
    for leg in [Some(&trace.there), trace.back.as_ref()].into_iter().flatten() {
        if let End::Dropped(cause) = &leg.end {
            text.push_str(&blame(state, &desired, cause));
        }
    }
    text.push_str(&not_looked_into(&trace, asked.foreign));
    Ok(text)
}

/// The chains of others that the packet meets too. Their rules are not read: should one drop it, that is the reason.
fn not_looked_into(trace: &Trace, foreign: &[ForeignChain]) -> String {
    let of_host = |netns: &NetnsName| *netns == NetnsName::Host;
    let passes = trace.there.hops.iter().any(|hop| matches!(hop, Hop::In(link) if of_host(&link.netns)));
    let hook = match (&trace.packet.from, &trace.there.end) {
        (_, End::Dropped(_)) => return String::new(),
        (_, End::Delivered { netns, .. }) if of_host(netns) && passes => Hook::Input,
        (Origin::Socket(netns), _) if of_host(netns) => Hook::Output,
        _ if passes => Hook::Forward,
        _ => return String::new(),
    };
    let line = |chain: &ForeignChain| {
        let policy = if chain.policy == Policy::Drop { "drop" } else { "accept" };
        let ForeignChain { family, table, chain, .. } = chain;
        format!(
            "passes chain {family} {table} {chain} too, which is not linkspan's (policy {policy}); its rules are not looked into\n"
        )
    };
    foreign.iter().filter(|chain| chain.hook == hook).map(line).collect()
}

/// Whose wish it was that the packet is dropped.
fn blame(state: &State, desired: &plan::Desired, cause: &Cause) -> String {
    let owner = cause.key().and_then(|key| desired.owner.get(&key).cloned());
    let name = owner.as_ref().and_then(|wish| labels::name(state, wish));
    match (owner, name) {
        (Some(wish), Some(name)) => format!("because of the wish of {name} ({wish})\n"),
        (Some(_), None) => "because every bridge network is protected so unless it asks otherwise\n".to_owned(),
        (None, _) => String::new(),
    }
}

/// `HOST[:PORT]`, with an IPv6 address in brackets.
fn split(text: &str) -> Result<(&str, u16), String> {
    let wrong = || {
        format!("{text:?} is not DST[:PORT]: write a container or an address, an IPv6 address with a port in brackets")
    };
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        let port = rest.strip_prefix(':').map_or(Ok(0), str::parse).map_err(|_| wrong())?;
        return Ok((host, port));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, port.parse().map_err(|_| wrong())?)),
        _ => Ok((text, 0)),
    }
}

fn start(
    state: &State,
    net: &NetState,
    around: &Surroundings,
    source: &str,
) -> Result<(Origin, Option<IpAddr>), String> {
    if source == "host" {
        return Ok((Origin::Socket(NetnsName::Host), None));
    }
    if let Some(sandbox) = sandbox(state, source) {
        let netns = match sandbox.namespace {
            Namespace::Host => NetnsName::Host,
            Namespace::Own => NetnsName::named(sandbox.id.short()),
        };
        return Ok((Origin::Socket(netns), None));
    }
    let address: IpAddr = source.parse().map_err(|_| unknown(source))?;
    let origin = origin(net, around, address).ok_or_else(|| format!("no route of this host leads to {address}"))?;
    Ok((origin, Some(address)))
}

/// The address of a container (that on a network with a way out first), or the address itself.
fn address(state: &State, host: &str) -> Option<IpAddr> {
    if let Ok(address) = host.parse() {
        return Some(address);
    }
    let sandbox = sandbox(state, host)?;
    let leased = |reach: Reach| {
        state.endpoints.values().filter(|endpoint| endpoint.sandbox == sandbox.id).find_map(|endpoint| {
            let network = state.networks.get(&endpoint.network)?;
            let model::network::Driver::Bridge(bridge) = &network.driver else { return None };
            let lease = endpoint.lease.as_ref().filter(|_| bridge.reach == reach)?;
            lease.ipv4.map(|net| net.addr().into()).or(lease.ipv6.map(|net| net.addr().into()))
        })
    };
    leased(Reach::Outside).or_else(|| leased(Reach::Internal))
}

fn sandbox<'s>(state: &'s State, name: &str) -> Option<&'s Sandbox> {
    let called = |id: &str| name.len() >= 4 && id.starts_with(name);
    let container = state.containers.values().find(|c| c.name == name || called(c.id.as_str()))?;
    state.sandboxes.get(&container.sandbox).map(|sandbox| &**sandbox)
}

fn unknown(name: &str) -> String {
    format!("{name:?} is neither a container nor an address: see `docker ps`")
}
