//! What is on the host and not linkspan's, as virtual packets meet it.

use std::collections::BTreeSet;

use kernel::facts::{Facts, HostAddr, HostRoute};
use netstate::{
    Fault,
    addr::AddrKey,
    link::LinkKey,
    netns::NetnsName,
    route::{Route, RouteKey},
    trace::Surroundings,
};

/// The host's own addresses and routes, as they are now.
pub fn surroundings(host: &mut Facts) -> Result<Surroundings, Fault> {
    Ok(Surroundings {
        addrs: host.addresses()?.into_iter().filter_map(addr).collect(),
        routes: host.routes(&BTreeSet::new())?.into_iter().filter_map(route).collect(),
        listeners: None,
        chance: 0,
    })
}

fn addr(addr: HostAddr) -> Option<AddrKey> {
    let link = LinkKey { netns: NetnsName::Host, name: addr.link.parse().ok()? };
    (!addr.ours).then_some(AddrKey { link, address: addr.address })
}

fn route(route: HostRoute) -> Option<(RouteKey, Route)> {
    let HostRoute { destination, table, metric, .. } = route;
    let device = route.device?.parse().ok()?;
    let key = RouteKey { netns: NetnsName::Host, table, destination, metric };
    (!route.ours).then_some((key, Route { device, via: route.via }))
}
