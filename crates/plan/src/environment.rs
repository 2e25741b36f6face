//! Environment variables by which a container is told of those it is linked to, on networks without DNS: the names and forms that
//! Docker's users know (docs.docker.com, "Legacy container links").

use std::net::IpAddr;

use model::{
    Container, State,
    endpoint::Link,
    port::{ExposedPorts, PortRange, Protocol},
};

use crate::dns::endpoint_names;

/// Variables of the other that everybody has, and that say nothing of it.
const EVERYBODYS: [&str; 4] = ["HOME", "HOSTNAME", "PATH", "TERM"];
/// So many ports in a row are told of as a range too.
const ROW_MIN: u32 = 3;

/// What a container is told in its environment, `NAME=value`. Those that it is linked to must be up.
pub fn link_environment(state: &State, container: &Container) -> Vec<String> {
    let mut variables = Vec::new();
    for endpoint in
        state.endpoints_of(&container.sandbox).filter(|endpoint| state.is_linked_by_hosts_file(&endpoint.network))
    {
        for link in &endpoint.wish.links {
            let Some(other) = state.linked(link) else { continue };
            let theirs = state.endpoints_of(&other.sandbox).find(|theirs| theirs.network == endpoint.network);
            let address = theirs.and_then(|theirs| endpoint_names(state, theirs).addresses.first().copied());
            if let Some(address) = address {
                tell(state, container, link, other, address, &mut variables);
            }
        }
    }
    variables
}

fn tell(state: &State, container: &Container, link: &Link, other: &Container, at: IpAddr, to: &mut Vec<String>) {
    let alias = link.alias.to_uppercase().replace('-', "_");
    let exposed = state.sandboxes.get(&other.sandbox).map(|sandbox| sandbox.exposed.as_slice()).unwrap_or_default();
    let first = exposed.iter().map(|row| (row.ports.first, row.protocol)).min();
    if let Some((port, protocol)) = first {
        to.push(format!("{alias}_PORT={protocol}://{at}:{port}"));
    }
    for ExposedPorts { protocol, ports } in exposed {
        let wire = protocol.to_string().to_uppercase();
        if ports.len() >= ROW_MIN {
            let PortRange { first, last } = ports;
            let name = format!("{alias}_PORT_{first}_{wire}");
            to.push(format!("{name}_START={protocol}://{at}:{first}"));
            to.push(format!("{name}_END={protocol}://{at}:{last}"));
            to.push(format!("{name}_PORT_START={first}"));
            to.push(format!("{name}_PORT_END={last}"));
        }
        for port in ports.first..=ports.last {
            tell_port(&format!("{alias}_PORT_{port}_{wire}"), *protocol, at, port, to);
        }
    }
    to.push(format!("{alias}_NAME=/{}/{}", container.name, link.alias));
    for variable in &other.process.env {
        let name = variable.split('=').next().unwrap_or_default();
        if !EVERYBODYS.contains(&name) && variable.contains('=') {
            to.push(format!("{alias}_ENV_{variable}"));
        }
    }
}

fn tell_port(name: &str, protocol: Protocol, at: IpAddr, port: u16, to: &mut Vec<String>) {
    to.push(format!("{name}={protocol}://{at}:{port}"));
    to.push(format!("{name}_ADDR={at}"));
    to.push(format!("{name}_PORT={port}"));
    to.push(format!("{name}_PROTO={protocol}"));
}
