//! One Ingress by itself: whether it is ours, and what it asks for. What is wrong in it is left out and told.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::api::{
    core::v1::Secret,
    networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressClass},
};
use proxy::http::{certificate::Certificate, host::Host, table::Path};

use super::{CONTROLLER, Part};

/// What classes were named by before they were objects.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";
const IS_DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";

/// A port of a service, as a backend names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Port {
    Number(i32),
    Name(String),
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A path that leads to a port of a service.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub host: Host,
    pub path: Path,
    pub service: String,
    pub port: Port,
}

/// What an Ingress asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    /// When it was created.
    pub age: String,
    /// Those that it has rules for, some without paths.
    pub hosts: BTreeSet<Host>,
    pub paths: Vec<Rule>,
    pub default: Option<(String, Port)>,
    /// The secret of each host.
    pub certificates: Vec<(Host, String)>,
    pub problems: Vec<String>,
}

impl Rules {
    /// The services that it leads to.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let default = self.default.iter().map(|(service, _)| service.as_str());
        self.paths.iter().map(|rule| rule.service.as_str()).chain(default)
    }

    /// What is made again when a service changes.
    pub fn parts_of(&self, service: &str) -> BTreeSet<Part> {
        let paths = self.paths.iter().filter(|rule| rule.service == service);
        let mut parts: BTreeSet<_> = paths.map(|rule| Part::Host(rule.host.clone())).collect();
        if self.default.as_ref().is_some_and(|(default, _)| default == service) {
            parts.extend(self.hosts.iter().cloned().map(Part::Host));
            parts.insert(Part::Default);
        }
        parts
    }
}

/// Whether an Ingress is for the class: by its field, else by the old annotation, else because the class is the default. A class of
/// somebody else's controller is not ours, whatever its name.
pub(super) fn is_ours(ingress: &Ingress, class: &str, object: Option<&IngressClass>) -> bool {
    let controller = object.and_then(|object| object.spec.as_ref()?.controller.as_deref());
    if controller.is_some_and(|controller| controller != CONTROLLER) {
        return false;
    }
    let annotation = |annotations: &Option<std::collections::BTreeMap<String, String>>, name: &str| {
        annotations.as_ref().and_then(|annotations| annotations.get(name).cloned())
    };
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.clone());
    match named.or_else(|| annotation(&ingress.metadata.annotations, OLD_CLASS)) {
        Some(named) => named == class,
        None => {
            object.is_some_and(|object| annotation(&object.metadata.annotations, IS_DEFAULT).as_deref() == Some("true"))
        }
    }
}

/// Reads what an Ingress asks for.
pub(super) fn read(ingress: &Ingress) -> Rules {
    let created = ingress.metadata.creation_timestamp.as_ref();
    let mut rules = Rules { age: created.map(|time| time.0.to_string()).unwrap_or_default(), ..Rules::default() };
    let Some(spec) = &ingress.spec else { return rules };
    if let Some(default) = &spec.default_backend {
        match target(default) {
            Ok(target) => rules.default = Some(target),
            Err(why) => rules.problems.push(format!("the default backend: {why}")),
        }
    }
    for rule in spec.rules.iter().flatten() {
        let host = match Host::parse(rule.host.as_deref().unwrap_or_default()) {
            Ok(host) => host,
            Err(why) => {
                rules.problems.push(why.to_string());
                continue;
            }
        };
        rules.hosts.insert(host.clone());
        for path in rule.http.iter().flat_map(|http| &http.paths) {
            match read_path(path) {
                Ok((path, (service, port))) => rules.paths.push(Rule { host: host.clone(), path, service, port }),
                Err(why) => rules.problems.push(format!("host {host}: {why}")),
            }
        }
    }
    for tls in spec.tls.iter().flatten() {
        let Some(secret) = tls.secret_name.as_ref().filter(|name| !name.is_empty()) else { continue };
        match tls.hosts.as_deref().unwrap_or_default() {
            // For every host of this Ingress then.
            [] => rules.certificates.extend(rules.hosts.iter().map(|host| (host.clone(), secret.clone()))),
            hosts => {
                for host in hosts {
                    match Host::parse(host) {
                        Ok(host) => rules.certificates.push((host, secret.clone())),
                        Err(why) => rules.problems.push(format!("tls: {why}")),
                    }
                }
            }
        }
    }
    rules
}

fn read_path(path: &HTTPIngressPath) -> Result<(Path, (String, Port)), String> {
    let text = path.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    if !text.starts_with('/') {
        return Err(format!("path {text:?} does not begin with /"));
    }
    let target = target(&path.backend).map_err(|why| format!("path {text}: {why}"))?;
    match path.path_type.as_str() {
        "Exact" => Ok((Path::Exact(text), target)),
        "Prefix" | "ImplementationSpecific" => Ok((Path::Prefix(text), target)),
        other => Err(format!("path {text}: pathType {other:?} is not Exact, Prefix or ImplementationSpecific")),
    }
}

fn target(backend: &IngressBackend) -> Result<(String, Port), String> {
    let Some(service) = &backend.service else {
        return Err("only services can be backends here, not other resources".to_owned());
    };
    let port = service.port.as_ref().and_then(|port| match (&port.name, port.number) {
        (Some(name), _) if !name.is_empty() => Some(Port::Name(name.clone())),
        (_, Some(number)) => Some(Port::Number(number)),
        _ => None,
    });
    let port = port.ok_or_else(|| format!("service {} is named without a port", service.name))?;
    Ok((service.name.clone(), port))
}

/// Reads a secret of type `kubernetes.io/tls`.
pub(super) fn certificate(secret: &Secret) -> Result<Certificate, String> {
    let data = secret.data.as_ref();
    let field = |name: &str| {
        let value = data.and_then(|data| data.get(name)).map(|value| value.0.as_slice());
        value.ok_or_else(|| format!("it has no {name}"))
    };
    Certificate::from_pem(field("tls.crt")?, field("tls.key")?).map_err(|error| error.to_string())
}
