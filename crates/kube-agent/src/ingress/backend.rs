//! A port of a Service and its EndpointSlices as a backend of the gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort},
    discovery::v1::{Endpoint, EndpointSlice},
};
use proxy::http::{
    proxy_protocol,
    table::{Backend, Balance, Protocol},
};

use super::{Name, rules::Port};

/// `round-robin` or `least-requests`.
const BALANCE: &str = "linkspan.dev/balance";
/// `v1` or `v2`.
const PROXY_PROTOCOL: &str = "linkspan.dev/proxy-protocol";
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// To which service a slice belongs.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<Name> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some((slice.metadata.namespace.clone()?, service.clone()))
}

/// The backend that a port is; what makes it lead nowhere otherwise.
pub(super) fn make(
    name: &Name,
    port: &Port,
    service: Option<&Service>,
    slices: Option<&BTreeMap<String, EndpointSlice>>,
) -> Result<Backend, String> {
    let text = &name.1;
    let service = service.ok_or_else(|| format!("service {text} does not exist"))?;
    let spec = service.spec.as_ref().ok_or_else(|| format!("service {text} has no spec"))?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return Err(format!("service {text} is an ExternalName, to which the gateway does not lead"));
    }
    let found = spec.ports.iter().flatten().find(|candidate| match port {
        Port::Number(number) => candidate.port == *number,
        Port::Name(name) => candidate.name.as_ref() == Some(name),
    });
    let found = found.ok_or_else(|| format!("service {text} has no port {port}"))?;
    if found.protocol.as_deref().is_some_and(|protocol| protocol != "TCP") {
        return Err(format!("port {port} of service {text} is not TCP"));
    }
    let protocol = protocol(found);
    let (balance, send_proxy) = wishes(service).map_err(|why| format!("service {text}: {why}"))?;
    let families = spec.ip_families.as_deref().unwrap_or_default();
    let first_v6 = families.first().is_some_and(|family| family == "IPv6");
    let endpoints = endpoints(found, slices, first_v6);
    let name = format!("{}/{text}:{}", name.0, found.port);
    Ok(Backend { name, protocol, balance, send_proxy, endpoints, ..Backend::default() })
}

/// By `appProtocol`: IANA's names of services, those of KEP-3726, and what others call gRPC.
fn protocol(port: &ServicePort) -> Protocol {
    match port.app_protocol.as_deref().unwrap_or_default() {
        "https" | "kubernetes.io/wss" => Protocol::Https1,
        "kubernetes.io/h2c" | "grpc" => Protocol::H2c,
        "grpcs" => Protocol::H2,
        // HTTP, WebSockets, and names of which nothing is known.
        _ => Protocol::Http1,
    }
}

fn wishes(service: &Service) -> Result<(Balance, Option<proxy_protocol::Version>), String> {
    let annotation =
        |name: &str| service.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    let balance = match annotation(BALANCE) {
        None | Some("round-robin") => Balance::RoundRobin,
        Some("least-requests") => Balance::LeastRequests,
        Some(other) => return Err(format!("{BALANCE} is {other:?}, not round-robin or least-requests")),
    };
    let send_proxy = match annotation(PROXY_PROTOCOL) {
        None => None,
        Some("v1") => Some(proxy_protocol::Version::V1),
        Some("v2") => Some(proxy_protocol::Version::V2),
        Some(other) => return Err(format!("{PROXY_PROTOCOL} is {other:?}, not v1 or v2")),
    };
    Ok((balance, send_proxy))
}

/// Those that are ready; if there is none, those that end but still serve. Of two families the service's first, so that a pod with two
/// addresses counts once.
fn endpoints(port: &ServicePort, slices: Option<&BTreeMap<String, EndpointSlice>>, first_v6: bool) -> Vec<SocketAddr> {
    let (mut ready, mut ending) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices.into_iter().flat_map(BTreeMap::values) {
        let named = slice
            .ports
            .iter()
            .flatten()
            .find(|of| of.name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or(""));
        let Some(number) = named.and_then(|of| u16::try_from(of.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let address = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
            let Some(ip) = address else { continue };
            match readiness(endpoint) {
                Readiness::Ready => drop(ready.insert(SocketAddr::new(ip, number))),
                Readiness::Ending => drop(ending.insert(SocketAddr::new(ip, number))),
                Readiness::None => {}
            }
        }
    }
    let all = if ready.is_empty() { ending } else { ready };
    let (v6, v4): (Vec<_>, Vec<_>) = all.into_iter().partition(SocketAddr::is_ipv6);
    match (first_v6, v4.is_empty(), v6.is_empty()) {
        (true, _, false) | (_, true, _) => v6,
        _ => v4,
    }
}

enum Readiness {
    Ready,
    Ending,
    None,
}

/// Unset means ready, and serving as ready (KEP-1672).
fn readiness(endpoint: &Endpoint) -> Readiness {
    let Some(conditions) = &endpoint.conditions else { return Readiness::Ready };
    let ready = conditions.ready.unwrap_or(true);
    let terminating = conditions.terminating.unwrap_or(false);
    match (ready, conditions.serving.unwrap_or(ready)) {
        (true, _) => Readiness::Ready,
        (false, true) if terminating => Readiness::Ending,
        _ => Readiness::None,
    }
}
