//! The network home: a sandbox of its own on some networks, the host's, or that of another container.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use model::{
    Container, ContainerId, EndpointId, Network, Sandbox, SandboxId, State,
    command::{NewEndpoint, NewSandbox, SandboxWish},
    network::Driver,
    sandbox::{DnsWish, ExtraHost, HostAddress, Namespace, Stays, Up},
};

use crate::{
    ApiError,
    endpoint::{self, EndpointSettings},
    find, random,
    version::Version,
    wire::{config::Config, host_config::HostConfig},
};

use super::{HostView, blame_the_request, port};

/// Whose home it is.
pub(super) struct Home<'a> {
    pub(super) id: &'a ContainerId,
    pub(super) name: &'a str,
    pub(super) state: &'a State,
    pub(super) version: Version,
    pub(super) host: &'a HostView,
}

/// What is asked for. Its host name, and whose network it has, are written back as an inspect shows them.
pub(super) struct Asked<'a> {
    pub(super) config: &'a mut Config,
    pub(super) host: &'a mut HostConfig,
    pub(super) endpoints: Endpoints,
}

type Endpoints = BTreeMap<String, Option<EndpointSettings>>;

/// Before this version a container could be created on one network only.
const SEVERAL_NETWORKS: Version = Version::new(1, 44);

/// The sandbox that is asked for, and its id.
pub(super) fn sandbox(
    home: &Home<'_>,
    asked: Asked<'_>,
    random: random::Source<'_>,
    warnings: &mut Vec<String>,
) -> Result<(SandboxWish, SandboxId), ApiError> {
    let Asked { config, host, endpoints } = asked;
    if let Some(reference) = host.network_mode.strip_prefix("container:") {
        let owner = Arc::clone(find::container(home.state, reference).map_err(blame_the_request)?);
        return shared(home.state, &owner, Asked { config, host, endpoints });
    }
    let network = find::network(home.state, &host.network_mode).map_err(blame_the_request)?;
    let of_host = matches!(network.driver, Driver::Host);
    if config.hostname.is_empty() {
        let of_host = of_host || host.uts_mode == "host";
        config.hostname = if of_host { home.host.hostname.clone() } else { home.id.short().to_owned() };
    }
    let mut ports = port::ports(config, host)?;
    if of_host && !ports.is_empty() {
        ports.clear();
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    if of_host && let Some(name) = host.sysctls.keys().find(|name| name.starts_with("net.")) {
        return Err(ApiError::invalid(format!("sysctl \"{name}\" not allowed in host network namespace")));
    }
    let sandbox = Sandbox {
        id: SandboxId::from_bytes(random()?),
        namespace: if of_host { Namespace::Host } else { Namespace::Own },
        names: names(home, &config.hostname),
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        dns: dns(host)?,
        extra_hosts: host.extra_hosts.iter().flatten().map(|text| extra_host(text)).collect::<Result<_, _>>()?,
        sysctls: host
            .sysctls
            .iter()
            .filter(|(k, _)| k.starts_with("net."))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        exposed: port::exposed(config)?,
        ports,
        published: Vec::new(),
        up: Up::Down,
        stays: Stays::WithContainers,
    };
    let id = sandbox.id.clone();
    let endpoints = new_endpoints(home, network, config, host, endpoints, random)?;
    Ok((SandboxWish::New(NewSandbox { sandbox, endpoints }), id))
}

fn shared(state: &State, owner: &Container, asked: Asked<'_>) -> Result<(SandboxWish, SandboxId), ApiError> {
    let Asked { config, host, endpoints } = asked;
    if !endpoints.is_empty() {
        return Err(only_network());
    }
    if let Some(name) = host.sysctls.keys().find(|name| name.starts_with("net.")) {
        let words = format!("conflicting options: sysctl {name} and the container type network mode");
        return Err(ApiError::invalid(words));
    }
    if let Some(sandbox) = find::sandbox(state, owner) {
        config.hostname.clone_from(&sandbox.hostname);
        config.domainname.clone_from(&sandbox.domainname);
    }
    // The name may change, the id does not.
    host.network_mode = format!("container:{}", owner.id);
    Ok((SandboxWish::Of(owner.id.clone()), owner.sandbox.clone()))
}

fn only_network() -> ApiError {
    ApiError::invalid(
        "container sharing network namespace with another container or host cannot be connected to any other network",
    )
}

fn names(home: &Home<'_>, hostname: &str) -> Vec<String> {
    let mut names = vec![home.name.to_owned(), home.id.short().to_owned()];
    if !names.iter().any(|name| name == hostname) {
        names.push(hostname.to_owned());
    }
    names
}

/// The network of the mode first, then the others by name.
fn new_endpoints(
    home: &Home<'_>,
    first: &Arc<Network>,
    config: &Config,
    host: &HostConfig,
    given: Endpoints,
    random: random::Source<'_>,
) -> Result<Vec<NewEndpoint>, ApiError> {
    if given.len() > 1 && home.version < SEVERAL_NETWORKS {
        let names: Vec<&str> = given.keys().map(String::as_str).collect();
        let words = format!("Container cannot be connected to network endpoints: {}", names.join(", "));
        return Err(ApiError::invalid(words));
    }
    let mut main = EndpointSettings::default();
    let mut others = Vec::new();
    for (reference, settings) in given {
        let settings = settings.unwrap_or_default();
        let reference = if reference == "default" { "bridge" } else { &reference };
        let network = find::network(home.state, reference).map_err(blame_the_request)?;
        if network.id == first.id { main = settings } else { others.push((network, settings)) }
    }
    if !others.is_empty() {
        match first.driver {
            Driver::Bridge(_) => {}
            Driver::Host => return Err(only_network()),
            Driver::Null => {
                return Err(ApiError::invalid(
                    "container cannot be connected to multiple networks with one of the networks in private (none) mode",
                ));
            }
        }
    }
    others.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    if main.mac_address.is_empty() {
        main.mac_address.clone_from(&config.mac_address);
    }
    let links = host
        .links
        .iter()
        .flatten()
        .map(|text| endpoint::link(home.state, first, text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut endpoints = Vec::new();
    let mut seen = BTreeSet::new();
    for (network, settings) in [(first, main)].into_iter().chain(others) {
        if !seen.insert(network.id.clone()) {
            continue;
        }
        let mut wish = endpoint::wish(home.state, network, &settings)?;
        if endpoints.is_empty() {
            wish.links.extend(links.iter().cloned());
        }
        endpoints.push(NewEndpoint { id: EndpointId::from_bytes(random()?), network: network.id.clone(), wish });
    }
    Ok(endpoints)
}

fn dns(host: &HostConfig) -> Result<DnsWish, ApiError> {
    let address =
        |text: &String| text.parse::<IpAddr>().map_err(|_| ApiError::invalid(format!("{text} is not an ip address")));
    Ok(DnsWish {
        servers: host.dns.iter().map(address).collect::<Result<_, _>>()?,
        search: host.dns_search.clone(),
        options: host.dns_options.clone(),
    })
}

/// Reads `name:address`, `name:[v6]` and `name:host-gateway`.
fn extra_host(text: &str) -> Result<ExtraHost, ApiError> {
    let bad = || ApiError::invalid(format!("bad format for add-host: {text:?}"));
    let (name, address) = text.split_once([':', '=']).filter(|(name, _)| !name.is_empty()).ok_or_else(bad)?;
    let address = match address {
        "host-gateway" => HostAddress::HostGateway,
        address => {
            let plain = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            let parsed = plain.parse();
            HostAddress::Is(
                parsed.map_err(|_| ApiError::invalid(format!("invalid IP address in add-host: {address:?}")))?,
            )
        }
    };
    Ok(ExtraHost { name: name.to_owned(), address })
}
