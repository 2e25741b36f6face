//! Where a registry is: mirrors first, which hosts may be spoken to without a proof of who they are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::proxy::Proxies;

/// Docker Hub's name in references, and where it is.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// What the daemon's configuration says about registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Asked before Docker Hub, in order: `https://mirror.example`. They never see credentials.
    pub mirrors: Vec<String>,
    /// Hosts, `host:port`s or networks (`10.0.0.0/8`) that may have no or an unknown certificate, or speak plain
    /// HTTP. Loopback always may.
    pub insecure: Vec<String>,
    /// Proxies on the way.
    pub proxies: Proxies,
    /// A connection on which nothing comes for so long is given up.
    pub stall_timeout: Duration,
    /// Extra certificate authorities: `<dir>/<host[:port]>/*.crt`.
    pub certs_dir: PathBuf,
}

impl Default for RegistrySettings {
    fn default() -> RegistrySettings {
        RegistrySettings {
            mirrors: Vec::new(),
            insecure: Vec::new(),
            proxies: Proxies::default(),
            stall_timeout: Duration::from_secs(60),
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
        }
    }
}

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host and port, for messages.
    pub(crate) name: String,
    /// Bases to try, `https://host:port`; the first that answers serves.
    pub(crate) bases: Vec<String>,
    pub(crate) verify: Verify,
    pub(crate) kind: EndpointKind,
}

/// Whether a certificate must be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    Always,
    /// The operator or loopback says so.
    Never,
}

/// Whether credentials are meant for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    Mirror,
    Origin,
}

/// Where to ask for images of this registry, in order.
pub(crate) fn endpoints(domain: &str, settings: &RegistrySettings) -> Vec<Endpoint> {
    let mirrors = settings.mirrors.iter().filter(|_| domain == HUB).map(|mirror| {
        let base = mirror.trim_end_matches('/').to_owned();
        let name = base.split("://").last().unwrap_or_default().to_owned();
        let verify = verify(&name, settings);
        let bases = if base.contains("://") { vec![base] } else { bases(&base, verify) };
        Endpoint { name, bases, verify, kind: EndpointKind::Mirror }
    });
    mirrors.chain([Endpoint::of(domain, settings)]).collect()
}

impl Endpoint {
    /// The registry itself.
    pub(crate) fn of(domain: &str, settings: &RegistrySettings) -> Endpoint {
        let name = if domain == HUB { HUB_HOST } else { domain };
        let verify = verify(name, settings);
        Endpoint { name: name.to_owned(), bases: bases(name, verify), verify, kind: EndpointKind::Origin }
    }
}

fn bases(name: &str, verify: Verify) -> Vec<String> {
    match verify {
        Verify::Always => vec![format!("https://{name}")],
        Verify::Never => vec![format!("https://{name}"), format!("http://{name}")],
    }
}

fn verify(name: &str, settings: &RegistrySettings) -> Verify {
    let host = host_of(name);
    let address: Option<IpAddr> = host.parse().ok();
    let listed = settings
        .insecure
        .iter()
        .any(|entry| entry == name || entry == host || address.is_some_and(|address| network_has(entry, address)));
    let loopback = host == "localhost" || address.is_some_and(|address| address.is_loopback());
    if listed || loopback { Verify::Never } else { Verify::Always }
}

/// The host of `host:port` or `[v6]:port`.
fn host_of(name: &str) -> &str {
    match name.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => name.split(':').next().unwrap_or_default(),
    }
}

pub(super) fn network_has(network: &str, address: IpAddr) -> bool {
    let Some((base, length)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u128::from(base.to_bits()), u128::from(address.to_bits()), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (base.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    length == 0 || length <= width && (base ^ address) >> (width - length) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_found_where_the_configuration_says() {
        let settings = RegistrySettings {
            mirrors: vec!["https://mirror.example/".to_owned(), "http://127.0.0.1:5001".to_owned()],
            insecure: vec!["10.1.0.0/16".to_owned(), "reg.example".to_owned(), "fd00::/8".to_owned()],
            ..RegistrySettings::default()
        };
        let check = |domain: &str, expected: &[&str]| {
            let found: Vec<_> = endpoints(domain, &settings).into_iter().flat_map(|e| e.bases).collect();
            assert_eq!(found, expected, "{domain}");
        };
        check("docker.io", &["https://mirror.example", "http://127.0.0.1:5001", "https://registry-1.docker.io"]);
        check("quay.io", &["https://quay.io"]);
        check("localhost:5000", &["https://localhost:5000", "http://localhost:5000"]);
        check("127.9.9.9", &["https://127.9.9.9", "http://127.9.9.9"]);
        check("[::1]:5000", &["https://[::1]:5000", "http://[::1]:5000"]);
        check("10.1.2.3:80", &["https://10.1.2.3:80", "http://10.1.2.3:80"]);
        check("10.2.2.3", &["https://10.2.2.3"]);
        check("reg.example:5000", &["https://reg.example:5000", "http://reg.example:5000"]);
        check("[fd01::1]", &["https://[fd01::1]", "http://[fd01::1]"]);
    }
}
