//! Endpoints: a sandbox is put on a network and taken off it; leases.

use std::{collections::BTreeSet, sync::Arc};

use ipnet::IpNet;

use super::{address, draft::Draft, network::is_ifname, port, sandbox};
use crate::{
    address::Family,
    change::{Record, RecordKey},
    command::Connect,
    endpoint::{Endpoint, EndpointWish, Lease, LinkTarget},
    id::{ContainerId, EndpointId, NetworkId},
    network::{Driver, Network, Origin},
    refusal::Refusal,
    sandbox::{Namespace, Sandbox, Stays, Up},
    state::State,
};

/// Puts a container's sandbox on a network; at once if it is up.
pub fn connect(draft: &mut Draft, connect: Connect) -> Result<(), Refusal> {
    let Connect { id, container, network, wish } = connect;
    let container = draft.container(&container)?;
    let network = draft.network(&network)?;
    let home = draft.sandbox(&container.sandbox)?;
    refuse_pod(&home)?;
    if !home.is_home_of(&container.id) {
        return conflict(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        );
    }
    if home.namespace == Namespace::Host || network.driver == Driver::Host {
        return conflict("container cannot be disconnected from host network or connected to host network");
    }
    for other in draft.state.endpoints_of(&home.id) {
        if other.network == network.id {
            return Err(Refusal::Forbidden(format!(
                "endpoint with name {} already exists in network {}",
                container.name, network.name
            )));
        }
        if network.driver == Driver::Null || is_null(&draft.state, other) {
            return conflict(
                "container cannot be connected to multiple networks with one of the networks in private (none) mode",
            );
        }
    }
    if draft.state.endpoints.contains_key(&id) {
        return Err(Refusal::Conflict(format!("an endpoint with the id {id} exists already")));
    }
    check(draft, &network, &wish)?;
    let endpoint =
        Endpoint { id: id.clone(), network: network.id.clone(), sandbox: home.id.clone(), wish, lease: None };
    draft.put(Record::Endpoint(Arc::new(endpoint)));
    if home.up == Up::Up {
        lease(draft, &id)?;
        port::publish(draft, &home.id)?;
        draft.tell_network(&network.id, "connect", &[("container", container.id.to_string())]);
    }
    Ok(())
}

/// Takes a container's sandbox off a network.
pub fn disconnect(draft: &mut Draft, container: &ContainerId, network: &NetworkId) -> Result<(), Refusal> {
    let container = draft.container(container)?;
    let home = draft.sandbox(&container.sandbox)?;
    refuse_pod(&home)?;
    if home.namespace == Namespace::Host {
        return conflict("container cannot be disconnected from host network or connected to host network");
    }
    let endpoint = draft.state.endpoints_of(&home.id).find(|e| e.network == *network && home.is_home_of(&container.id));
    let Some(endpoint) = endpoint.map(|e| e.id.clone()) else {
        let name = draft.network(network)?.name.clone();
        return Err(Refusal::Invalid(format!("container {} is not connected to network {name}", container.id)));
    };
    draft.tell_network(network, "disconnect", &[("container", container.id.to_string())]);
    draft.delete(RecordKey::Endpoint(endpoint));
    if home.up == Up::Up {
        port::publish(draft, &home.id)?;
    }
    Ok(())
}

/// The networks of a pod are its own affair: whoever made it would not know of others.
fn refuse_pod(home: &Sandbox) -> Result<(), Refusal> {
    match home.stays {
        Stays::WithContainers => Ok(()),
        Stays::UntilRemoved | Stays::Orphaned => {
            conflict("container is part of a pod: its networks are those of the pod")
        }
    }
}

/// Takes a link away.
pub fn unlink(draft: &mut Draft, container: &ContainerId, alias: &str) -> Result<(), Refusal> {
    let container = draft.container(container)?;
    let knows = |endpoint: &&Arc<Endpoint>| {
        draft.state.is_linked_by_hosts_file(&endpoint.network)
            && endpoint.wish.links.iter().any(|link| link.alias == alias)
    };
    let endpoint = draft.state.endpoints_of(&container.sandbox).find(knows).map(|endpoint| endpoint.id.clone());
    let missing = || Refusal::NotFound { kind: "link", name: format!("/{}/{alias}", container.name) };
    draft.edit_endpoint(&endpoint.ok_or_else(missing)?, |endpoint| {
        endpoint.wish.links.retain(|link| link.alias != alias)
    });
    Ok(())
}

/// Refuses what an endpoint of this network can never have.
pub fn check(draft: &Draft, network: &Network, wish: &EndpointWish) -> Result<(), Refusal> {
    address::check_static(network, wish)?;
    address::check_mac(wish)?;
    if network.origin == Origin::Predefined && !wish.aliases.is_empty() {
        return invalid("network-scoped alias is supported only for containers in user defined networks");
    }
    if let Some(ifname) = wish.ifname.as_ref().filter(|name| !is_ifname(name) || *name == "lo") {
        return invalid(format!(
            "invalid interface name {ifname:?}: use 1 to 15 bytes without '/', ':' or white space, and not lo"
        ));
    }
    for link in &wish.links {
        if let LinkTarget::Container(id) = &link.to {
            draft.container(id)?;
        }
    }
    Ok(())
}

/// Gives an endpoint of a bridge network its lease. Others have nothing to lease.
pub fn lease(draft: &mut Draft, id: &EndpointId) -> Result<(), Refusal> {
    let Some(endpoint) = draft.state.endpoints.get(id).cloned() else { return Ok(()) };
    let network = draft.network(&endpoint.network)?;
    let Some(bridge) = network.bridge() else { return Ok(()) };
    // It was checked when it was wished, but a network can be removed and made again meanwhile.
    address::check_static(&network, &endpoint.wish)?;
    let state = &draft.state;
    let ipv4 = address::choose(state, &network, &endpoint, Family::V4)?.and_then(v4);
    let ipv6 = address::choose(state, &network, &endpoint, Family::V6)?.and_then(v6);
    let (mac, host_mac) = address::choose_macs(state, &network, &endpoint, ipv4)?;
    let ifname = ifname(state, &endpoint, &bridge.ifname_prefix)?;
    let host_ifname = host_ifname(state, &endpoint);
    let lease = Lease { ipv4, ipv6, mac, ifname, host_ifname, host_mac };
    draft.edit_endpoint(id, |endpoint| endpoint.lease = Some(lease));
    Ok(())
}

fn is_null(state: &State, endpoint: &Endpoint) -> bool {
    state.networks.get(&endpoint.network).is_some_and(|network| network.driver == Driver::Null)
}

fn v4(net: IpNet) -> Option<ipnet::Ipv4Net> {
    if let IpNet::V4(net) = net { Some(net) } else { None }
}

fn v6(net: IpNet) -> Option<ipnet::Ipv6Net> {
    if let IpNet::V6(net) = net { Some(net) } else { None }
}

/// The interface's name inside: as wished, or the prefix with the lowest free number. Names that endpoints of the same sandbox wish for
/// are not free.
fn ifname(state: &State, endpoint: &Endpoint, prefix: &str) -> Result<String, Refusal> {
    let others = || state.endpoints_of(&endpoint.sandbox).filter(|other| other.id != endpoint.id);
    let leased = |other: &Arc<Endpoint>| other.lease.as_ref().map(|lease| lease.ifname.clone());
    let used: BTreeSet<String> = others().filter_map(leased).collect();
    let wished: BTreeSet<&str> = others().filter_map(|other| other.wish.ifname.as_deref()).collect();
    match &endpoint.wish.ifname {
        Some(name) if used.contains(name) => conflict(format!(
            "interface name {name} is already in use by {}",
            sandbox::holder(state, &endpoint.sandbox)
        )),
        Some(name) => Ok(name.clone()),
        // One of any `used + wished + 1` numbers is free.
        None => (0..)
            .map(|number: u32| format!("{prefix}{number}"))
            .find(|name| !used.contains(name) && !wished.contains(name.as_str()))
            .ok_or_else(|| Refusal::Invalid(format!("no interface name {prefix} is left"))),
    }
}

/// The interface's name on the host, alone on it: seven digits of the id, from the start unless another endpoint has these.
fn host_ifname(state: &State, endpoint: &Endpoint) -> String {
    let taken = |name: &str| {
        let leases =
            state.endpoints.values().filter(|other| other.id != endpoint.id).filter_map(|other| other.lease.as_ref());
        leases.into_iter().any(|lease| lease.host_ifname == name)
    };
    let id = endpoint.id.as_str();
    let names = (0..=id.len() - 7).map(|start| format!("veth{}", &id[start..start + 7]));
    let mut free = names.filter(|name| !taken(name));
    free.next().unwrap_or_else(|| format!("veth{}", &id[..7]))
}

fn conflict<T>(words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Conflict(words.into()))
}

fn invalid<T>(words: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Invalid(words.into()))
}
