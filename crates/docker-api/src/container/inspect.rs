//! `GET /containers/{id}/json`.

use engine::Places;
use model::{
    Container, Sandbox, State,
    container::{Log, Phase},
    network::Origin,
    sandbox::{Namespace, Up},
};
use runtime::oci;
use serde_json::{Map, Value, json};

use super::{face::Face, link, mount, port, status};
use crate::{
    endpoint, find, time,
    version::Version,
    wire::{host_config::HostConfig, port::ExposedPorts},
};

/// What an inspect shows besides the state.
pub(crate) struct Surroundings<'a> {
    /// Where its files are.
    pub(crate) places: &'a Places,
    /// Its execs.
    pub(crate) execs: Vec<String>,
    /// Its root file system.
    pub(crate) graph: Value,
    /// Bytes it wrote, and bytes in all, if they were asked for.
    pub(crate) sizes: Option<(u64, u64)>,
}

/// The document of a container.
pub(crate) fn inspect(state: &State, container: &Container, around: &Surroundings<'_>) -> Value {
    let Face { config, mut host_config } = Face::of(state, container);
    show_usual_paths(&mut host_config);
    host_config.links = link::list(state, container);
    let dir = around.places.container(&container.id);
    let was_started = !matches!(container.phase, Phase::Created);
    let file = |name: &str| if was_started { dir.join(name).to_string_lossy().into_owned() } else { String::new() };
    let log = match container.log {
        Log::None => String::new(),
        Log::JsonFile { .. } if was_started => around.places.log(&container.id).to_string_lossy().into_owned(),
        Log::JsonFile { .. } => String::new(),
    };
    let mut args = container.process.args.iter();
    let mut document = json!({
        "Id": container.id.as_str(),
        "Created": time::rfc3339(container.created_ms),
        "Path": args.next(),
        "Args": args.collect::<Vec<_>>(),
        "State": status::document(container),
        "Image": container.image.id,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log,
        "Name": format!("/{}", container.name),
        "RestartCount": container.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": if around.execs.is_empty() { Value::Null } else { json!(around.execs) },
        "HostConfig": host_config,
        "GraphDriver": around.graph,
        "Mounts": mount::list(&container.mounts, around.places),
        "Config": config,
        "NetworkSettings": network_settings(state, container, &config.exposed_ports, around.places),
    });
    if let Some((written, all)) = around.sizes {
        document["SizeRw"] = json!(written);
        document["SizeRootFs"] = json!(all);
    }
    document
}

/// Before this version the names by which a container is found stood among its aliases.
const DNS_NAMES_APART: Version = Version::new(1, 45);
/// Before this version they were not told of by themselves, and the first address stood with the configuration.
const DNS_NAMES: Version = Version::new(1, 44);

/// Says it as older versions of the API did.
pub(crate) fn as_before(document: &mut Value, container: &Container, version: Version) {
    if version >= DNS_NAMES_APART {
        return;
    }
    let hostname = document["Config"]["Hostname"].clone();
    let Some(networks) = document["NetworkSettings"]["Networks"].as_object_mut() else { return };
    for (name, endpoint) in networks {
        if !matches!(name.as_str(), "bridge" | "host" | "none") {
            let mut aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
            for more in [json!(container.id.short()), hostname.clone()] {
                if !aliases.contains(&more) {
                    aliases.push(more);
                }
            }
            endpoint["Aliases"] = aliases.into();
        }
        if let Some(endpoint) = endpoint.as_object_mut().filter(|_| version < DNS_NAMES) {
            endpoint.remove("DNSNames");
        }
    }
}

/// The paths that are hidden and read-only, as Docker lists them where nothing was said; a privileged container has none.
fn show_usual_paths(host: &mut HostConfig) {
    if host.privileged {
        return;
    }
    let readonly = || oci::READONLY_PATHS.iter().map(ToString::to_string).collect();
    host.masked_paths.get_or_insert_with(oci::masked_paths);
    host.readonly_paths.get_or_insert_with(readonly);
}

fn network_settings(state: &State, container: &Container, exposed: &ExposedPorts, places: &Places) -> Value {
    let sandbox = home(state, container);
    let mut settings = json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": {},
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
    });
    if let Some(sandbox) = sandbox {
        settings["Ports"] = port::map(container, exposed, sandbox);
        if sandbox.up == Up::Up {
            settings["SandboxID"] = json!(sandbox.id.as_str());
            settings["SandboxKey"] = json!(sandbox_key(sandbox, places));
        }
    }
    add_default_network(&mut settings, state, container, sandbox);
    settings["Networks"] = networks(state, container, sandbox).into();
    settings
}

/// The sandbox that was made for the container. One that lives in another's shows nothing: the other has the endpoints.
pub(super) fn home<'a>(state: &'a State, container: &Container) -> Option<&'a Sandbox> {
    find::sandbox(state, container).map(AsRef::as_ref).filter(|sandbox| sandbox.is_home_of(&container.id))
}

/// The `Networks`, by name.
pub(crate) fn networks(state: &State, container: &Container, sandbox: Option<&Sandbox>) -> Map<String, Value> {
    let Some(sandbox) = sandbox else { return Map::new() };
    find::endpoints(state, container)
        .map(|(endpoint, network)| {
            (network.name.clone(), endpoint::show(container, &sandbox.hostname, endpoint, network))
        })
        .collect()
}

fn sandbox_key(sandbox: &Sandbox, places: &Places) -> String {
    match sandbox.namespace {
        Namespace::Own => places.namespace(&sandbox.id).to_string_lossy().into_owned(),
        Namespace::Host => "/proc/1/ns/net".to_owned(),
    }
}

/// What is said of the endpoint on the default network stands outside too, for clients that know no other.
fn add_default_network(settings: &mut Value, state: &State, container: &Container, sandbox: Option<&Sandbox>) {
    const FIELDS: [&str; 8] = [
        "EndpointID",
        "Gateway",
        "GlobalIPv6Address",
        "GlobalIPv6PrefixLen",
        "IPAddress",
        "IPPrefixLen",
        "IPv6Gateway",
        "MacAddress",
    ];
    let is_default = |network: &model::Network| network.origin == Origin::Predefined && network.name == "bridge";
    let endpoint = sandbox.and_then(|sandbox| {
        let (endpoint, network) = find::endpoints(state, container).find(|(_, network)| is_default(network))?;
        Some(endpoint::show(container, &sandbox.hostname, endpoint, network))
    });
    for field in FIELDS {
        let nothing = || if field.ends_with("PrefixLen") { json!(0) } else { json!("") };
        settings[field] = endpoint.as_ref().map_or_else(nothing, |endpoint| endpoint[field].clone());
    }
}
