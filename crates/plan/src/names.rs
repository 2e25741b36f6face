//! The names of our chains, sets and maps, and the ports that the userspace data plane listens on. What varies is an element of a set;
//! chains stay as they are. Fragments fill them, traces and maps explain them.

use std::net::{Ipv4Addr, SocketAddrV4};

use model::address::Family;

/// The port of the userspace listeners on the host, TCP and UDP, both families.
pub const LISTENER_PORT: u16 = 41_080;
/// Where the embedded DNS server listens inside a sandbox's namespace; queries to port 53 of the address are led there.
pub const DNS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 11), 41_053);

/// Chain: keeps the host's loopback addresses from everybody else, before any translation is undone.
pub const RAW_PREROUTING: &str = "raw_prerouting";
/// Chain: new connections from outside and from sandboxes.
pub const PREROUTING: &str = "prerouting";
/// Chain: new connections of the host itself; in a sandbox's namespace those of the sandbox.
pub const OUTPUT: &str = "output";
/// Chain: leads what is for the host's published ports to sandboxes.
pub const PUBLISH: &str = "publish";
/// Chain: what may pass from link to link; in the bridge table, from port to port.
pub const FORWARD: &str = "forward";
/// Chain: leads new connections to services.
pub const SERVICES: &str = "services";
/// Chain: the same for those of the host itself.
pub const SERVICES_OF_HOST: &str = "services_of_host";
/// Chain: refuses what is asked of a service without endpoints.
pub const REFUSED: &str = "refused";
/// Map: mark -> the chain that spreads the clients of services like that.
pub const SPREAD: &str = "spread";
/// Chain: source translation.
pub const POSTROUTING: &str = "postrouting";

/// Set of link names: all bridges.
pub const BRIDGES: &str = "bridges";
/// Set of pairs of one bridge with itself: those whose sandboxes may talk to each other.
pub const SAME: &str = "same";
/// Set of link names: bridges that reach nothing beyond themselves.
pub const INTERNAL: &str = "internal";
/// Set of pairs of a link of the host and a bridge: packets from the one may enter the other.
pub const TRUSTED: &str = "trusted";
/// Set of link names, in the bridge table: ports of bridges whose sandboxes may talk to each other only when linked.
pub const LINKED_ONLY: &str = "linked_only";

/// The sets and maps that there are once for each family.
pub struct FamilyNames {
    /// Map: host address, protocol, port -> sandbox address; the port stays.
    pub publish: &'static str,
    /// Map: host address, protocol, port -> sandbox address and port.
    pub publish_to: &'static str,
    /// Set: host address, protocol, port of what userspace listeners serve.
    pub proxied: &'static str,
    /// Set: subnet of the client, host address, protocol, port of what userspace listeners serve for one network alone. There while a
    /// network is that lets only linked sandboxes talk.
    pub proxied_within: &'static str,
    /// Set: sandbox address, protocol, port that may be reached directly.
    pub open: &'static str,
    /// Set: subnets that are reached directly on open ports, and by ICMP.
    pub routed: &'static str,
    /// Set: subnets that are reached directly on every port.
    pub unprotected: &'static str,
    /// Set: subnets whose packets leave with the address of the outgoing link.
    pub masquerade: &'static str,
    /// Map: subnet -> the address with which its packets leave.
    pub snat: &'static str,
    /// Set: pairs of one subnet with itself. A sandbox that reaches one of its own network through a published port is masked, or the
    /// answer would not come back this way.
    pub hairpin: &'static str,
    /// Set: pairs of addresses that are linked explicitly.
    pub linked: &'static str,
    /// Map: address, protocol, port of a service -> the mark that says how its clients are spread.
    pub service: &'static str,
    /// Map: the same for those inside the cluster, where it differs.
    pub service_inside: &'static str,
    /// Map: address, protocol, port of a service and the mark of a slot -> address and port of an endpoint.
    pub ends: &'static str,
    /// Map, filled by packets: client, address, protocol, port of a service with affinity (for IPv6 their hash) -> the mark of the client's
    /// slot.
    pub known_clients: &'static str,
    /// Set: address, protocol, port of services that not everybody may ask.
    pub guarded: &'static str,
    /// Set: client, address, protocol, port: who may.
    pub allowed: &'static str,
    /// Set: addresses of pods.
    pub inside: &'static str,
    /// Set: ranges of which services have their addresses.
    pub service_ranges: &'static str,
}

/// The names for a family.
pub fn of(family: Family) -> &'static FamilyNames {
    match family {
        Family::V4 => &V4,
        Family::V6 => &V6,
    }
}

const V4: FamilyNames = FamilyNames {
    publish: "publish4",
    publish_to: "publish4_to",
    proxied: "proxied4",
    proxied_within: "proxied4_within",
    open: "open4",
    routed: "routed4",
    unprotected: "unprotected4",
    masquerade: "masq4",
    snat: "snat4",
    hairpin: "hairpin4",
    linked: "linked4",
    service: "service4",
    service_inside: "service4_inside",
    ends: "ends4",
    known_clients: "known_clients4",
    guarded: "guarded4",
    allowed: "allowed4",
    inside: "inside4",
    service_ranges: "service_ranges4",
};

const V6: FamilyNames = FamilyNames {
    publish: "publish6",
    publish_to: "publish6_to",
    proxied: "proxied6",
    proxied_within: "proxied6_within",
    open: "open6",
    routed: "routed6",
    unprotected: "unprotected6",
    masquerade: "masq6",
    snat: "snat6",
    hairpin: "hairpin6",
    linked: "linked6",
    service: "service6",
    service_inside: "service6_inside",
    ends: "ends6",
    known_clients: "known_clients6",
    guarded: "guarded6",
    allowed: "allowed6",
    inside: "inside6",
    service_ranges: "service_ranges6",
};
