//! Published ports. Ranges stay ranges: ten thousand ports cost what one costs.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use super::{draft::Draft, sandbox};
use crate::{
    address::Family,
    container::{Container, Want},
    id::SandboxId,
    network::GatewayMode,
    port::{HostPorts, PortRange, PortWish, Protocol, PublishedPort},
    refusal::Refusal,
    sandbox::{Namespace, Up},
    service::{FrontendKey, NamespacedName},
    state::State,
};

/// Where ports are looked for when the host does not say (Linux's own default).
const EPHEMERAL: PortRange = PortRange { first: 32_768, last: 60_999 };

/// Refuses wishes that contradict themselves.
pub fn check(wishes: &[PortWish]) -> Result<(), Refusal> {
    for wish in wishes {
        let ranges = match wish.host {
            HostPorts::Any => vec![wish.inside],
            HostPorts::Range(host) => vec![wish.inside, host],
        };
        if ranges.iter().any(|range| range.first == 0 || range.last < range.first) {
            return Err(Refusal::Invalid(format!(
                "invalid port range in {wish}: ports are 1 to 65535, the first not above the last"
            )));
        }
        if let HostPorts::Range(host) = wish.host
            && wish.inside.len() != 1
            && wish.inside.len() != host.len()
        {
            return Err(Refusal::Invalid(format!(
                "invalid ranges specified for container and host Ports: {} and {host}",
                wish.inside
            )));
        }
    }
    Ok(())
}

/// Decides the published ports of a sandbox that is up and has its leases. What is published already stays where it is.
pub fn publish(draft: &mut Draft, id: &SandboxId) -> Result<(), Refusal> {
    let sandbox = draft.sandbox(id)?;
    if sandbox.namespace == Namespace::Host || sandbox.up == Up::Down || sandbox.ports.is_empty() {
        return Ok(());
    }
    let mut desk = Desk { held: held_by_others(draft, id), chosen: Vec::new(), draft, sandbox: id, drawn: 0 };
    for wish in joined(&sandbox.ports) {
        let addresses = desk.addresses(&wish)?;
        if addresses.is_empty() {
            continue;
        }
        let before = sandbox.published.iter().find(|port| {
            port.protocol == wish.protocol
                && port.inside == wish.inside
                && wish.host_ip.is_none_or(|ip| ip == port.host_ip)
        });
        match before {
            Some(before) => desk.take(&wish, &addresses, before.host)?,
            None => desk.choose(&wish, &addresses)?,
        }
    }
    let published = desk.chosen;
    draft.edit_sandbox(id, |sandbox| sandbox.published = published);
    Ok(())
}

/// A range of ports at one of the host's addresses, which is unspecified where all are meant.
type Claim = (Protocol, IpAddr, PortRange);

/// The ports of the host that are a sandbox's: those that it publishes, and those that are asked for by number while a container of it is
/// between the end and the start of its restart.
pub fn claims<'s>(state: &'s State, id: &'s SandboxId) -> impl Iterator<Item = Claim> + 's {
    let sandbox = state.sandboxes.get(id);
    let published = sandbox.into_iter().flat_map(|sandbox| &sandbox.published);
    let asked = sandbox.into_iter().filter(|sandbox| sandbox.up == Up::Down).flat_map(|sandbox| &sandbox.ports);
    let is_between = |container: &Arc<Container>| container.want == Want::Restarted && !container.is_live();
    let coming = asked.filter_map(move |wish| match wish.host {
        HostPorts::Range(host) if state.residents_of(id).any(is_between) => Some((wish, host)),
        HostPorts::Range(_) | HostPorts::Any => None,
    });
    let coming = coming.flat_map(|(wish, host)| {
        let at = wish.host_ip.map_or(Family::BOTH.map(Family::unspecified).to_vec(), |address| vec![address]);
        at.into_iter().map(move |address| (wish.protocol, address, host))
    });
    published.map(|port| (port.protocol, port.host_ip, port.host)).chain(coming)
}

/// Who has the port at which a service would be asked.
pub fn publisher(state: &State, (address, protocol, port): FrontendKey) -> Option<String> {
    let has = |id: &SandboxId| {
        claims(state, id).any(|(of, at, ports)| of == protocol && ports.contains(port) && share(state, at, address))
    };
    state.sandboxes.keys().find(|id| has(id)).map(|id| sandbox::holder(state, id))
}

/// Whether what is published at an address is at that of a service too. Published at all addresses, a port is at the node's own; those of
/// load balancers are there for their services alone.
fn share(state: &State, published: IpAddr, service: IpAddr) -> bool {
    let of_node = || state.cluster.as_ref().is_some_and(|cluster| cluster.node_addresses.contains(&service));
    let of_host = || service.is_loopback() || of_node();
    published == service || (published == Family::of(service).unspecified() && of_host())
}

/// The wishes with neighbours joined into ranges, those for fixed ports first, so that no other takes these from them.
fn joined(wishes: &[PortWish]) -> Vec<PortWish> {
    let mut sorted = wishes.to_vec();
    let rank = |wish: &PortWish| match wish.host {
        HostPorts::Range(host) if host.len() == wish.inside.len() => 0,
        HostPorts::Range(_) => 1,
        HostPorts::Any => 2,
    };
    sorted.sort_by_key(|wish| (rank(wish), wish.protocol, wish.host_ip, wish.inside, wish.host));
    sorted.dedup();
    sorted.dedup_by(|next, kept| {
        let follows =
            kept.protocol == next.protocol && kept.host_ip == next.host_ip && follows(kept.inside, next.inside);
        let host = match (kept.host, next.host) {
            (HostPorts::Any, HostPorts::Any) => HostPorts::Any,
            (HostPorts::Range(one), HostPorts::Range(other))
                if rank(kept) == 0 && rank(next) == 0 && self::follows(one, other) =>
            {
                HostPorts::Range(PortRange { first: one.first, last: other.last })
            }
            _ => return false,
        };
        if follows {
            kept.inside.last = next.inside.last;
            kept.host = host;
        }
        follows
    });
    sorted
}

fn follows(one: PortRange, other: PortRange) -> bool {
    one.last.checked_add(1) == Some(other.first)
}

/// Ports that somebody has.
struct Held<'s> {
    protocol: Protocol,
    address: IpAddr,
    ports: PortRange,
    by: Holder<'s>,
}

#[derive(Clone, Copy)]
enum Holder<'s> {
    Sandbox(&'s SandboxId),
    /// The index in the facts' list.
    Listener(usize),
}

fn held_by_others<'s>(draft: &'s Draft, own: &SandboxId) -> Vec<Held<'s>> {
    let others = draft.state.sandboxes.values().filter(|sandbox| sandbox.id != *own);
    let published = others.flat_map(|sandbox| {
        sandbox.published.iter().map(|port| Held {
            protocol: port.protocol,
            address: port.host_ip,
            ports: port.host,
            by: Holder::Sandbox(&sandbox.id),
        })
    });
    let listeners = draft.facts.listeners.iter().enumerate().map(|(index, listener)| Held {
        protocol: listener.protocol,
        address: listener.address,
        ports: PortRange::single(listener.port),
        by: Holder::Listener(index),
    });
    published.chain(listeners).collect()
}

impl Held<'_> {
    /// Whether a port of `address` could not be bound beside it.
    fn meets(&self, address: IpAddr) -> bool {
        // A listener at `::` has the IPv4 addresses too, unless it asked not to (IPV6_V6ONLY); that cannot be seen.
        let all = matches!(self.by, Holder::Listener(_)) && self.address == Ipv6Addr::UNSPECIFIED;
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        all || (same_family && (self.address == address || self.address.is_unspecified() || address.is_unspecified()))
    }
}

/// Where ports are given out.
struct Desk<'d, 'f> {
    draft: &'d Draft<'f>,
    sandbox: &'d SandboxId,
    held: Vec<Held<'d>>,
    chosen: Vec<PublishedPort>,
    drawn: u64,
}

impl Desk<'_, '_> {
    /// The host addresses that a wish is about, without those whose family needs no translation or reaches nothing.
    fn addresses(&self, wish: &PortWish) -> Result<Vec<IpAddr>, Refusal> {
        let state = &self.draft.state;
        let door = |family| state.gateway(self.sandbox, family);
        let Some((_, _, bridge)) = door(Family::V4).or_else(|| door(Family::V6)) else { return Ok(Vec::new()) };
        let default = bridge.host_binding.or_else(|| state.settings.as_ref().and_then(|s| s.publish_address));
        let addresses = match wish.host_ip.or(default) {
            Some(address) => vec![address],
            None => Family::BOTH.map(Family::unspecified).to_vec(),
        };
        let mut served = Vec::new();
        for address in addresses {
            let family = Family::of(address);
            let mode = door(family).map(|(_, _, bridge)| bridge.gateway_mode(family));
            match mode {
                Some(GatewayMode::Nat | GatewayMode::NatUnprotected) => served.push(address),
                Some(GatewayMode::Routed | GatewayMode::Isolated) => {}
                // A userspace listener leads from one family to the other; SCTP has none.
                None if wish.protocol != Protocol::Sctp => served.push(address),
                None if wish.host_ip.is_none() => {}
                None => {
                    let number = family.number();
                    return Err(Refusal::Invalid(format!(
                        "cannot publish {wish}: the container has no IPv{number} address, and SCTP cannot be led to the other family"
                    )));
                }
            }
        }
        Ok(served)
    }

    fn choose(&mut self, wish: &PortWish, addresses: &[IpAddr]) -> Result<(), Refusal> {
        match wish.host {
            HostPorts::Range(host) if host.len() == wish.inside.len() => self.take(wish, addresses, host),
            HostPorts::Range(host) => {
                let first = self.gap(wish, addresses, host, host.first);
                let first = first.ok_or_else(|| exhausted(wish, addresses, host))?;
                self.take(wish, addresses, PortRange::single(first))
            }
            HostPorts::Any => self.choose_any(wish, addresses),
        }
    }

    /// A run of free ports from a random place on; when there is none so long, one for each half.
    fn choose_any(&mut self, wish: &PortWish, addresses: &[IpAddr]) -> Result<(), Refusal> {
        let range = self.draft.facts.ephemeral.filter(|range| range.first > 0).unwrap_or(EPHEMERAL);
        let drawn = self.draft.draw(PURPOSE, self.drawn) % u64::from(range.len());
        self.drawn += 1;
        // Less than the range's length, which is at most 65,536 ports from its first one.
        let from = range.first.saturating_add(drawn as u16);
        let first = self.gap(wish, addresses, range, from).or_else(|| self.gap(wish, addresses, range, range.first));
        let inside = wish.inside;
        match first {
            Some(first) => {
                let last = first + (inside.last - inside.first);
                self.take(wish, addresses, PortRange { first, last })
            }
            None if inside.len() == 1 => Err(exhausted(wish, addresses, range)),
            None => {
                let middle = inside.first + (inside.last - inside.first) / 2;
                let half = |first, last| PortWish { inside: PortRange { first, last }, ..wish.clone() };
                self.choose_any(&half(inside.first, middle), addresses)?;
                self.choose_any(&half(middle + 1, inside.last), addresses)
            }
        }
    }

    /// The first of as many free ports as there are inside, from `from` on.
    fn gap(&self, wish: &PortWish, addresses: &[IpAddr], within: PortRange, from: u16) -> Option<u16> {
        let own = self.chosen.iter().filter(|port| port.protocol == wish.protocol).map(|port| port.host);
        let held = self.held.iter().filter(|held| held.protocol == wish.protocol);
        let held = held.filter(|held| addresses.iter().any(|address| held.meets(*address))).map(|held| held.ports);
        let services = addresses.iter().flat_map(|address| self.services(wish.protocol, *address, within));
        let services = services.map(|(port, _)| PortRange::single(port));
        let mut taken: Vec<PortRange> = held.chain(services).chain(own).collect();
        taken.sort_unstable();
        let (mut at, length) = (u32::from(from), wish.inside.len());
        for range in taken {
            if at + length <= u32::from(range.first) {
                break;
            }
            at = at.max(u32::from(range.last) + 1);
        }
        (at + length - 1 <= u32::from(within.last)).then_some(at as u16)
    }

    /// Takes exactly these host ports at every address.
    fn take(&mut self, wish: &PortWish, addresses: &[IpAddr], host: PortRange) -> Result<(), Refusal> {
        for address in addresses {
            self.refuse_held(wish.protocol, *address, host)?;
        }
        for address in addresses {
            let (protocol, inside) = (wish.protocol, wish.inside);
            self.chosen.push(PublishedPort { protocol, host_ip: *address, host, inside });
        }
        Ok(())
    }

    /// The services that are asked at an address, in order of their ports.
    fn services(
        &self,
        protocol: Protocol,
        address: IpAddr,
        ports: PortRange,
    ) -> impl Iterator<Item = (u16, &NamespacedName)> {
        let (first, last): (IpAddr, IpAddr) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into());
        let state = &self.draft.state;
        let there = state.outside.range((protocol, ports.first, first)..=(protocol, ports.last, last));
        let there = there.filter(move |((_, _, asked), _)| share(state, address, *asked));
        there.map(|((_, port, _), service)| (*port, service))
    }

    fn refuse_held(&self, protocol: Protocol, address: IpAddr, host: PortRange) -> Result<(), Refusal> {
        if let Some((port, service)) = self.services(protocol, address, host).next() {
            let (port, holder) = (PortRange::single(port), format!("service {service}"));
            return Err(Refusal::PortInUse { address, port, protocol, holder });
        }
        let own = self.chosen.iter().map(|port| Held {
            protocol: port.protocol,
            address: port.host_ip,
            ports: port.host,
            by: Holder::Sandbox(self.sandbox),
        });
        let own: Vec<_> = own.collect();
        let in_the_way = |held: &&Held| held.protocol == protocol && held.ports.overlaps(host) && held.meets(address);
        let Some(held) = self.held.iter().chain(&own).find(in_the_way) else { return Ok(()) };
        let port = PortRange { first: held.ports.first.max(host.first), last: held.ports.last.min(host.last) };
        let holder = match held.by {
            Holder::Sandbox(id) => sandbox::holder(&self.draft.state, id),
            Holder::Listener(index) => {
                let listener = self.draft.facts.listeners.get(index);
                let name = listener.and_then(|listener| listener.holder.clone());
                format!("{} on this host", name.unwrap_or_else(|| "a process".to_owned()))
            }
        };
        Err(Refusal::PortInUse { address, port, protocol, holder })
    }
}

fn exhausted(wish: &PortWish, addresses: &[IpAddr], range: PortRange) -> Refusal {
    let address = addresses.first().copied().unwrap_or_else(|| Family::V4.unspecified());
    Refusal::PortsExhausted { address, range, protocol: wish.protocol }
}

const PURPOSE: u64 = 2;
