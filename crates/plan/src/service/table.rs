//! The services of a host as rows: where it is asked, and who serves there. It is the same for every backend.

use std::net::SocketAddr;

use ipnet::IpNet;
use model::{
    NamespacedName, Service, State,
    address::Family,
    port::Protocol,
    service::{Frontend, FrontendKind, Spread},
};

/// Where a service is asked, and who serves there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'s> {
    /// Where it is asked.
    pub address: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// How those who ask are spread over the endpoints.
    pub spread: Spread,
    /// The same for those inside the cluster, where it differs.
    pub from_inside: Option<Spread>,
    /// Who serves, by slot.
    pub ends: &'s [SocketAddr],
    /// Who may ask; none means all.
    pub sources: Option<Vec<IpNet>>,
}

/// The rows of one service.
pub fn rows<'s>(state: &'s State, name: &NamespacedName) -> Vec<Row<'s>> {
    let Some(service) = state.services.get(name) else { return Vec::new() };
    service.led().filter_map(|frontend| row(service, frontend)).collect()
}

fn row<'s>(service: &'s Service, frontend: &Frontend) -> Option<Row<'s>> {
    let (address, protocol, port) = service.key(frontend)?;
    let (ends, spread) = service.at(frontend);
    let guarded = frontend.kind == FrontendKind::Balancer && !service.wish.balancer_sources.is_empty();
    let of_family = |net: &&IpNet| Family::of(net.addr()) == Family::of(address);
    let sources = guarded.then(|| {
        let sources: Vec<IpNet> = service.wish.balancer_sources.iter().filter(of_family).map(IpNet::trunc).collect();
        IpNet::aggregate(&sources)
    });
    let from_inside = service.from_inside(frontend);
    Some(Row { address: SocketAddr::new(address, port), protocol, spread, from_inside, ends, sources })
}
