//! The environment of a container: its values, ConfigMaps and Secrets, what it is told of itself ([`downward`]), and of Services.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, Pod, Secret, Service, ServicePort};
use thiserror::Error;

use super::{downward, resources::Capacity, spec};

/// What pods name and the API has: of the pod's namespace, by name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, ConfigMap>,
    /// Secrets.
    pub secrets: BTreeMap<String, Secret>,
    /// Services that containers are told of.
    pub services: Vec<Service>,
    /// Tokens of the service account, by the path of the projection that asks for them.
    pub tokens: BTreeMap<String, String>,
}

/// The longest variable or argument, bytes: longer ones no program can be started with (execve(2), `MAX_ARG_STRLEN`).
const TEXT_MAX: usize = 128 << 10;
/// The most of them together, bytes: more than a program can be started with.
pub const TEXTS_MAX: usize = 8 << 20;

/// Where a pod is.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The node.
    pub node: String,
    /// The node's addresses.
    pub host_ips: Vec<String>,
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// What the node has.
    pub capacity: Capacity,
    /// The least readiness to be killed for memory that it can give a container.
    pub oom_score_min: i32,
}

/// Why a container's configuration cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no such object.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The object has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// The words are complete.
    #[error("{0}")]
    Invalid(String),
}

/// The variables of a container, `NAME=value`: its own, then those of Services that it does not set itself.
pub fn variables(
    pod: &Pod,
    container: &Container,
    objects: &Objects,
    place: &Place,
) -> Result<Vec<(String, String)>, ConfigError> {
    let services = service_variables(pod, &objects.services);
    let mut own = Variables::default();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &from.config_map_ref {
            let found = objects.config_maps.get(&reference.name);
            for (key, value) in found_or(found, "configmap", &reference.name, reference.optional)?
                .and_then(|map| map.data.as_ref())
                .into_iter()
                .flatten()
            {
                own.set(format!("{prefix}{key}"), value.clone());
            }
        }
        if let Some(reference) = &from.secret_ref {
            let found = objects.secrets.get(&reference.name);
            for (key, value) in found_or(found, "secret", &reference.name, reference.optional)?
                .and_then(|secret| secret.data.as_ref())
                .into_iter()
                .flatten()
            {
                own.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
            }
        }
    }
    let mut total = 0;
    for variable in container.env.iter().flatten() {
        let lookup = |name: &str| own.get(name).or_else(|| services.get(name)).map(str::to_owned);
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), lookup)?),
            Some(_) => value_from(pod, container, variable, objects, place)?,
        };
        if let Some(value) = value {
            total += value.len();
            if total > TEXTS_MAX {
                return Err(ConfigError::Invalid(format!("the environment is larger than {TEXTS_MAX} bytes")));
            }
            own.set(variable.name.clone(), value);
        }
    }
    for (name, value) in services.all {
        if own.get(&name).is_none() {
            own.set(name, value);
        }
    }
    Ok(own.all)
}

/// Replaces `$(NAME)` by what it stands for; what stands for nothing stays, and `$$` is a `$`. What would grow longer than any program takes
/// is refused: texts that name each other could fill the memory.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<String, ConfigError> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        if expanded.len() > TEXT_MAX {
            return Err(ConfigError::Invalid(format!(
                "{text:.40?} is longer than {TEXT_MAX} bytes with what it refers to"
            )));
        }
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => expanded.push_str(&value),
                None => expanded.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The names of the ConfigMaps and Secrets that a container's environment names.
pub fn references(container: &Container) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for from in container.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|reference| reference.name.clone()));
    }
    for from in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
        maps.extend(from.config_map_key_ref.iter().map(|reference| reference.name.clone()));
        secrets.extend(from.secret_key_ref.iter().map(|reference| reference.name.clone()));
    }
    (maps, secrets)
}

fn found_or<'o, T>(
    found: Option<&'o T>,
    kind: &'static str,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'o T>, ConfigError> {
    match (found, optional) {
        (None, None | Some(false)) => Err(ConfigError::Missing { kind, name: name.to_owned() }),
        (found, _) => Ok(found),
    }
}

fn value_from(
    pod: &Pod,
    container: &Container,
    variable: &EnvVar,
    objects: &Objects,
    place: &Place,
) -> Result<Option<String>, ConfigError> {
    let Some(from) = &variable.value_from else { return Ok(None) };
    let (_, namespace, _) = spec::names(pod);
    let no_key = |kind, name: &str, key: &str| ConfigError::NoKey {
        kind,
        namespace: namespace.clone(),
        name: name.to_owned(),
        key: key.to_owned(),
    };
    if let Some(selector) = &from.field_ref {
        return downward::field(pod, selector, place).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return downward::resource(pod, container, selector, place).map(Some);
    }
    if let Some(selector) = &from.config_map_key_ref {
        let map = found_or(objects.config_maps.get(&selector.name), "configmap", &selector.name, selector.optional)?;
        let value = map.and_then(|map| map.data.as_ref()?.get(&selector.key)).cloned();
        return match (value, selector.optional) {
            (None, None | Some(false)) => Err(no_key("ConfigMap", &selector.name, &selector.key)),
            (value, _) => Ok(value),
        };
    }
    if let Some(selector) = &from.secret_key_ref {
        let secret = found_or(objects.secrets.get(&selector.name), "secret", &selector.name, selector.optional)?;
        let value = secret.and_then(|secret| secret.data.as_ref()?.get(&selector.key));
        let value = value.map(|value| String::from_utf8_lossy(&value.0).into_owned());
        return match (value, selector.optional) {
            (None, None | Some(false)) => Err(no_key("Secret", &selector.name, &selector.key)),
            (value, _) => Ok(value),
        };
    }
    Ok(None)
}

/// Of how many ports of a Service a pod is told. Each is five variables in every program of the namespace, and not only are there limits
/// (execve(2)): shells look through them all.
const PORTS_TOLD: usize = 100;

/// What is said of Services: where each is, in the two forms that programs know. The API itself is told of always.
fn service_variables(pod: &Pod, services: &[Service]) -> Variables {
    let mut variables = Variables::default();
    let spec = spec::of(pod);
    let (_, own_namespace, _) = spec::names(pod);
    let links = spec.enable_service_links.unwrap_or(true);
    for service in services {
        let (name, namespace) =
            (service.metadata.name.as_deref().unwrap_or_default(), service.metadata.namespace.as_deref());
        let is_api = name == "kubernetes" && namespace == Some("default");
        let is_told = is_api || (links && namespace == Some(own_namespace.as_str()));
        if !is_told {
            continue;
        }
        let Some(service) = &service.spec else { continue };
        let address = service.cluster_ip.as_deref().filter(|address| !address.is_empty() && *address != "None");
        let (Some(address), ports) = (address, service.ports.as_deref().unwrap_or_default()) else { continue };
        let prefix = shout(name);
        let Some(first) = ports.first() else { continue };
        variables.set(format!("{prefix}_SERVICE_HOST"), address.to_owned());
        variables.set(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
        let told = &ports[..ports.len().min(PORTS_TOLD)];
        for port in told {
            if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
                variables.set(format!("{prefix}_SERVICE_PORT_{}", shout(name)), port.port.to_string());
            }
        }
        let protocol = |port: &ServicePort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
        let url = |port: &ServicePort| format!("{}://{host}:{}", protocol(port).to_lowercase(), port.port);
        variables.set(format!("{prefix}_PORT"), url(first));
        for port in told {
            let prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol(port).to_uppercase());
            variables.set(prefix.clone(), url(port));
            variables.set(format!("{prefix}_PROTO"), protocol(port).to_lowercase());
            variables.set(format!("{prefix}_PORT"), port.port.to_string());
            variables.set(format!("{prefix}_ADDR"), address.to_owned());
        }
    }
    variables
}

fn shout(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// Variables in the order in which they were first set; the last value counts.
#[derive(Default)]
struct Variables {
    all: Vec<(String, String)>,
    /// The place of each name: an object may have a hundred thousand of them.
    places: HashMap<String, usize>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|place| self.all[*place].1.as_str())
    }

    fn set(&mut self, name: String, value: String) {
        match self.places.get(&name) {
            Some(place) => self.all[*place].1 = value,
            None => {
                self.places.insert(name.clone(), self.all.len());
                self.all.push((name, value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::core::v1::ServiceSpec, apimachinery::pkg::apis::meta::v1::ObjectMeta};

    use super::*;

    #[test]
    fn expansion() {
        let lookup = |name: &str| (name == "A").then(|| "x".to_owned());
        for (text, expected) in [
            ("$(A)b", "xb"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A", "$A"),
            ("a$", "a$"),
            ("$(A", "$(A"),
            ("$$$(A)", "$x"),
        ] {
            assert_eq!(expand(text, lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_service_of_very_many_ports_is_told_of_in_part() {
        let check = |many: i32, expected: usize| {
            let ports =
                (1..=many).map(|port| ServicePort { name: Some(format!("p{port}")), port, ..Default::default() });
            let spec = ServiceSpec {
                cluster_ip: Some("10.96.0.7".to_owned()),
                ports: Some(ports.collect()),
                ..Default::default()
            };
            let metadata = ObjectMeta {
                name: Some("many".to_owned()),
                namespace: Some("default".to_owned()),
                ..Default::default()
            };
            let service = Service { metadata: metadata.clone(), spec: Some(spec), status: None };
            let pod = Pod { metadata, ..Pod::default() };
            assert_eq!(service_variables(&pod, &[service]).all.len(), expected, "of {many} ports");
        };
        check(1, 8);
        check(100, 503);
        check(10_000, 503);
    }

    #[test]
    fn variables_that_name_each_other_do_not_grow_without_end() {
        let variable = |n: usize, value: String| EnvVar { name: format!("V{n}"), value: Some(value), value_from: None };
        let check = |env: Vec<EnvVar>, expected: Result<usize, &str>| {
            let container = Container { env: Some(env), ..Container::default() };
            let found = variables(&Pod::default(), &container, &Objects::default(), &Place::default());
            let found = found.map(|variables| variables.iter().map(|(_, value)| value.len()).max().unwrap_or_default());
            match expected {
                Ok(longest) => assert_eq!(found, Ok(longest)),
                Err(words) => {
                    assert!(found.as_ref().is_err_and(|error| error.to_string().contains(words)), "{found:?}")
                }
            }
        };
        let doubling =
            |count: usize| (0..count).map(|n| variable(n, format!("$(V{0})$(V{0})xx", n.wrapping_sub(1)))).collect();
        check(doubling(1), Ok(format!("$(V{0})$(V{0})xx", usize::MAX).len()));
        check(doubling(5), Ok(16 * format!("$(V{0})$(V{0})xx", usize::MAX).len() + 30));
        check(doubling(50), Err("is longer than 131072 bytes with what it refers to"));
        let many =
            (0..100).map(|n| variable(n, if n == 0 { "x".repeat(100_000) } else { "$(V0)".to_owned() })).collect();
        check(many, Err("the environment is larger than 8388608 bytes"));
        // One that names itself, or one that comes later, stands for nothing.
        check(vec![variable(0, "$(V0) $(V1)".to_owned()), variable(1, "$(V0)".to_owned())], Ok(11));
    }
}
