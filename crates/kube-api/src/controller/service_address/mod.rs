//! The addresses and node ports of Services: given when a Service is written, looked after since.
//!
//! The same Service gets the same address wherever it is free: it is found by a hash of its uid, beyond the first part of the range, which is
//! left to those who choose their address themselves.

mod address;
mod family;
mod port;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde::Deserialize;
use serde_json::Value;

use self::port::{checks_health, number, uses_node_ports};
use super::change::{self, Event, ObjectChange, Outcome, Severity, json};
use super::cluster::{Cluster, ObjectRef};
use super::template::fnv32;
use crate::kind::Errors;

const COMPONENT: &str = "ipallocator-repair-controller";
const PORT_COMPONENT: &str = "portallocator-repair-controller";

/// Where Services get their addresses and ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    /// One network for each family that Services may have; the first is the family of those that ask for none.
    pub networks: Vec<IpNet>,
    /// Node ports and health check node ports.
    pub node_ports: RangeInclusive<u16>,
}

impl Default for Ranges {
    fn default() -> Self {
        let network = IpNet::new_assert(Ipv4Addr::new(10, 96, 0, 0).into(), 16);
        Ranges { networks: vec![network], node_ports: 30_000..=32_767 }
    }
}

/// The fields of `spec` that are given here.
const GIVEN: [&str; 6] = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "ports", "healthCheckNodePort"];

/// Completes a Service that is about to be written: families, addresses, node ports. What it had before is kept, whatever has become
/// of the ranges; a new one may not have what one of its name has.
/// Whoever calls this must let no other Service be written in between. A Service that does not parse is left to the validation.
///
/// # Errors
/// An address or a port that is somebody else's or out of range, families that are not there.
pub fn allocate(cluster: &Cluster, service: &mut Value, old: Option<&Value>) -> Result<(), Errors> {
    let Ok(mut typed) = Service::deserialize(&*service) else { return Ok(()) };
    let before = old.and_then(|old| Service::deserialize(old).ok());
    if let Some(before) = &before {
        inherit(&mut typed, before);
        if moves(&typed, before) {
            // No address is looked for: validation says that it may not.
            return Ok(());
        }
    }
    let had = before.as_ref().and_then(|before| before.spec.as_ref());
    let taken = Taken { cluster, asks: old.map(|_| reference(&typed)), had };
    complete(&mut typed, &taken)?;
    let mut given = json(&typed.spec);
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    for field in GIVEN {
        match given.get_mut(field).map(Value::take).filter(|value| *value != Value::Array(Vec::new())) {
            Some(value) => spec.insert(field.into(), value),
            None => spec.remove(field),
        };
    }
    Ok(())
}

fn complete(service: &mut Service, taken: &Taken<'_>) -> Result<(), Errors> {
    let (seed, ranges) = (seed(service), &taken.cluster.settings.service);
    let Some(spec) = &mut service.spec else { return Ok(()) };
    let mut errors = Errors::default();
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(());
    }
    family::complete(spec, ranges, taken.had, &mut errors);
    if errors.is_empty() && spec.cluster_ip.as_deref() != Some("None") {
        address::give(spec, ranges, taken, seed, &mut errors);
    }
    port::give(spec, ranges, taken, seed, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Whether a service would get another address than it has.
fn moves(service: &Service, before: &Service) -> bool {
    let address = |service: &Service| {
        let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
        spec.cluster_ip.clone().filter(|address| !address.is_empty())
    };
    matches!((address(service), address(before)), (Some(new), Some(old)) if new != old)
}

/// What an update leaves out but does not mean to change, and what the new type has no use for: the allocated values of the old object are
/// kept, or dropped.
fn inherit(service: &mut Service, before: &Service) {
    let (Some(spec), Some(old)) = (&mut service.spec, &before.spec) else { return };
    let kind = |spec: &ServiceSpec| spec.type_.clone().unwrap_or_else(|| "ClusterIP".into());
    let (new_kind, old_kind) = (kind(spec), kind(old));
    if new_kind == "ExternalName" {
        if spec.cluster_ip == old.cluster_ip {
            (spec.cluster_ip, spec.cluster_ips, spec.ip_families, spec.ip_family_policy) = (None, None, None, None);
        }
    } else if old_kind != "ExternalName" {
        if spec.cluster_ip.as_deref().unwrap_or_default().is_empty() {
            spec.cluster_ip.clone_from(&old.cluster_ip);
            if spec.cluster_ips.as_ref().is_none_or(Vec::is_empty) {
                spec.cluster_ips.clone_from(&old.cluster_ips);
            }
        }
        if spec.ip_families.is_none() && spec.ip_family_policy == old.ip_family_policy {
            spec.ip_families.clone_from(&old.ip_families);
        }
    }
    if uses_node_ports(&new_kind) && uses_node_ports(&old_kind) {
        port::keep(spec, old);
    } else if !uses_node_ports(&new_kind) {
        for port in spec.ports.iter_mut().flatten() {
            let was = old.ports.iter().flatten().any(|old| old.node_port == port.node_port);
            port.node_port = port.node_port.filter(|_| !was);
        }
    }
    if checks_health(spec) && spec.health_check_node_port.unwrap_or(0) == 0 {
        spec.health_check_node_port = old.health_check_node_port;
    } else if !checks_health(spec) && spec.health_check_node_port == old.health_check_node_port {
        spec.health_check_node_port = None;
    }
}

/// Gives what is missing, and tells of what two have.
pub fn reconcile(cluster: &Cluster, key: &ObjectRef, _now: Timestamp) -> Outcome {
    let Some(service) = cluster.get::<Service>(key.namespace(), key.name()) else { return Outcome::default() };
    let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
        return Outcome::default();
    };
    let ranges = &cluster.settings.service;
    let taken = Taken { cluster, asks: Some(key.clone()), had: None };
    let mut completed = service.clone();
    if complete(&mut completed, &taken).is_ok() {
        let repaired = completed != *service && service.metadata.deletion_timestamp.is_none();
        return Vec::from_iter(repaired.then(|| ObjectChange::Update(json(&completed)))).into();
    }
    let mut changes = Vec::new();
    let mut tell = |reason, message, component| {
        let about = change::about::<Service>(&service.metadata);
        changes.push(ObjectChange::Event(Event { about, severity: Severity::Warning, reason, message, component }));
    };
    for address in spec.cluster_ips.iter().flatten().filter_map(|address| address.parse::<IpAddr>().ok()) {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        if taken.has_address(address) {
            let message =
                format!("Cluster IP [{family}]:{address} was assigned to multiple services; please recreate service");
            tell("ClusterIPAlreadyAllocated", message, COMPONENT);
        } else if !ranges.networks.iter().any(|network| network.contains(&address)) {
            let message = format!(
                "Cluster IP [{family}]:{address} is not within any configured Service CIDR; please recreate service"
            );
            tell("ClusterIPOutOfRange", message, COMPONENT);
        }
    }
    for port in spec.ports.iter().flatten().filter_map(|port| number(port.node_port)) {
        if taken.has_port(port) {
            let message = format!("Port {port} was assigned to multiple services; please recreate service");
            tell("PortAlreadyAllocated", message, PORT_COMPONENT);
        } else if !ranges.node_ports.contains(&port) {
            let (from, to) = (ranges.node_ports.start(), ranges.node_ports.end());
            let message = format!("Port {port} is not within the port range {from}-{to}; please recreate service");
            tell("PortOutOfRange", message, PORT_COMPONENT);
        }
    }
    changes.into()
}

/// What Services have but the one that asks.
struct Taken<'c> {
    cluster: &'c Cluster,
    /// That one, if it is there.
    asks: Option<ObjectRef>,
    /// What it had before a change, which it keeps.
    had: Option<&'c ServiceSpec>,
}

impl Taken<'_> {
    fn has_address(&self, address: IpAddr) -> bool {
        self.cluster.services_at(address).any(|other| self.asks.as_ref() != Some(other))
    }

    fn has_port(&self, port: u16) -> bool {
        self.cluster.services_on_port(port).any(|other| self.asks.as_ref() != Some(other))
    }

    fn keeps_address(&self, address: &str) -> bool {
        self.had.is_some_and(|had| had.cluster_ips.iter().flatten().any(|kept| kept == address))
    }

    fn keeps_port(&self, port: u16) -> bool {
        let kept = |had: &ServiceSpec| {
            let of_ports = had.ports.iter().flatten().map(|port| port.node_port);
            of_ports.chain([had.health_check_node_port]).any(|kept| number(kept) == Some(port))
        };
        self.had.is_some_and(kept)
    }
}

fn reference(service: &Service) -> ObjectRef {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    ObjectRef::of::<Service>(&part(&service.metadata.namespace), &part(&service.metadata.name))
}

/// Every number below `size` once: from a place given by the seed beyond the reserved part to the end, around, then the reserved part.
fn probe(size: u64, reserved: u64, seed: u32) -> impl Iterator<Item = u64> {
    let rest = size - reserved;
    let start = if rest == 0 { 0 } else { u64::from(seed) % rest };
    (0..rest).map(move |step| reserved + (start + step) % rest).chain(0..reserved)
}

fn seed(service: &Service) -> u32 {
    let meta = &service.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let own =
        if meta.uid.is_some() { text(&meta.uid) } else { format!("{}/{}", text(&meta.namespace), text(&meta.name)) };
    fnv32(&[own.as_bytes()])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::cluster::Settings;
    use super::*;

    fn check(others: Value, spec: Value, expected: Result<Value, &str>) {
        let network = |text: &str| text.parse::<IpNet>().unwrap();
        let ranges =
            Ranges { networks: vec![network("10.0.0.0/24"), network("fd00::/112")], node_ports: 30_000..=30_099 };
        let mut cluster = Cluster::default();
        cluster.settings = Arc::new(Settings { service: ranges, ..Settings::default() });
        for (index, spec) in others.as_array().unwrap().iter().enumerate() {
            let value =
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("o{index}")}, "spec": spec});
            cluster.put(&format!("/core/services/default/o{index}"), 1, value.to_string().into()).unwrap();
        }
        let service = json!({"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": spec});
        let mut service: Service = serde_json::from_value(service).unwrap();
        let taken = Taken { cluster: &cluster, asks: None, had: None };
        let result = complete(&mut service, &taken);
        match expected {
            Ok(expected) => {
                result.unwrap();
                let spec = serde_json::to_value(service.spec).unwrap();
                for (field, value) in expected.as_object().unwrap() {
                    assert_eq!(&spec[field], value, "{field} in {spec}");
                }
                let copy: Service =
                    serde_json::from_value(json!({"metadata": service.metadata, "spec": spec})).unwrap();
                let mut again = copy.clone();
                complete(&mut again, &taken).unwrap();
                assert_eq!(again, copy, "a second time changes nothing");
            }
            Err(message) => assert_eq!(result.unwrap_err().to_string(), message),
        }
    }

    #[test]
    fn addresses_and_families() {
        check(
            json!([]),
            json!({"clusterIP": "10.0.0.9"}),
            Ok(json!({"clusterIPs": ["10.0.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack"})),
        );
        check(
            json!([]),
            json!({"clusterIP": "fd00::9"}),
            Ok(json!({"clusterIPs": ["fd00::9"], "ipFamilies": ["IPv6"]})),
        );
        check(
            json!([]),
            json!({"clusterIP": "None", "selector": {"a": "b"}}),
            Ok(json!({"clusterIPs": ["None"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})),
        );
        check(
            json!([]),
            json!({"clusterIP": "None"}),
            Ok(json!({"ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "RequireDualStack"})),
        );
        check(
            json!([]),
            json!({"ipFamilyPolicy": "PreferDualStack", "clusterIP": "10.0.0.9"}),
            Ok(json!({"ipFamilies": ["IPv4", "IPv6"], "clusterIP": "10.0.0.9"})),
        );
        check(
            json!([{"clusterIP": "10.0.0.9"}]),
            json!({"clusterIP": "10.0.0.9"}),
            Err(
                "spec.clusterIPs: Invalid value: [\"10.0.0.9\"]: failed to allocate IP 10.0.0.9: provided IP is already allocated",
            ),
        );
        check(
            json!([]),
            json!({"clusterIP": "10.1.0.9"}),
            Err("spec.clusterIPs: Invalid value: [\"10.1.0.9\"]: failed to \
            allocate IP 10.1.0.9: the provided IP (10.1.0.9) is not in the valid range. The range of valid IPs is 10.0.0.0/24"),
        );
    }

    #[test]
    fn node_ports() {
        let node = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]});
        check(json!([]), node.clone(), Ok(json!({"ports": [{"port": 80, "nodePort": 30001}]})));
        check(
            json!([{"ports": [{"port": 1, "nodePort": 30001}]}]),
            node,
            Err("spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated"),
        );
        check(
            json!([]),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 29999}]}),
            Err("spec.ports[0].nodePort: \
            Invalid value: 29999: provided port is not in the valid range. The range of valid ports is 30000-30099"),
        );
        check(
            json!([]),
            json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": [{"port": 80}]}),
            Ok(json!({"ports": [{"port": 80}]})),
        );
    }

    #[test]
    fn what_was_given_is_kept() {
        let ports = |first: u16| json!([{"port": 80, "protocol": "TCP", "nodePort": first}]);
        let service = |spec: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        let spec = json!({"type": "NodePort", "clusterIP": "10.9.0.9", "clusterIPs": ["10.9.0.9"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "ports": ports(40_000)});
        let mut cluster = Cluster::default();
        let old = service(spec.clone());
        cluster.put("/core/services/default/web", 1, old.to_string().into()).unwrap();
        let check = |changes: Value, expected: Result<(), &str>| {
            let mut spec = spec.clone();
            json_patch::merge(&mut spec, &changes);
            let mut new = service(spec.clone());
            let result = allocate(&cluster, &mut new, Some(&old)).map_err(|errors| errors.to_string());
            assert_eq!(result, expected.map_err(str::to_owned), "{changes}");
            assert_eq!(new["spec"], spec, "{changes}");
        };
        check(json!({"selector": {"app": "web"}}), Ok(()));
        let words = "spec.ports[0].nodePort: Invalid value: 40001: provided port is not in the valid range. The range of valid ports is 30000-32767";
        check(json!({"ports": ports(40_001)}), Err(words));
        let mut again = old.clone();
        assert!(allocate(&cluster, &mut again, None).is_err(), "one of its name has it");
        // The cluster has no IPv6 any more.
        let addresses = json!(["10.0.0.9", "fd00::9"]);
        let families = json!(["IPv4", "IPv6"]);
        let spec = json!({"type": "ClusterIP", "clusterIP": "10.0.0.9", "clusterIPs": addresses, "ipFamilies": families,
            "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80, "protocol": "TCP"}], "selector": {"app": "web"}});
        let mut new = service(spec);
        let mut old = new.clone();
        old["spec"]["selector"]["app"] = "old".into();
        let expected = new.clone();
        allocate(&cluster, &mut new, Some(&old)).expect("it keeps both families");
        assert_eq!(new, expected);
    }

    #[test]
    fn every_free_number_is_found() {
        let mut all: Vec<_> = probe(100, 16, 77).collect();
        assert!(all[..84].iter().all(|number| *number >= 16));
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
