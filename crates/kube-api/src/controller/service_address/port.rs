//! Node ports, and those at which nodes are asked for their health.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

use super::{Ranges, Taken, probe};
use crate::kind::{Errors, Path};

/// Gives a Service the ports of every node that it needs and has not, and looks at those that it has.
pub fn give(spec: &mut ServiceSpec, ranges: &Ranges, taken: &Taken<'_>, seed: u32, errors: &mut Errors) {
    let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".into());
    let balanced = kind == "LoadBalancer";
    let unwanted = balanced && spec.allocate_load_balancer_node_ports == Some(false);
    let checks_health = checks_health(spec);
    let ports = spec.ports.get_or_insert_default();
    let mut own: BTreeSet<u16> = ports.iter().filter_map(|port| number(port.node_port)).collect();
    let path = Path::new("spec").field("ports");
    if uses_node_ports(&kind) {
        for index in 0..ports.len() {
            let field = path.index(index).field("nodePort");
            match number(ports[index].node_port) {
                Some(port) => check(port, ranges, taken, &field, errors),
                None if unwanted => {}
                None => match shared(ports, index).or_else(|| free(ranges, taken, &own, seed)) {
                    Some(port) => {
                        own.insert(port);
                        ports[index].node_port = Some(i32::from(port));
                    }
                    None => errors.invalid(&field, 0, "failed to allocate a nodePort: range is full"),
                },
            }
        }
    }
    if !checks_health {
        return;
    }
    let field = Path::new("spec").field("healthCheckNodePort");
    match number(spec.health_check_node_port) {
        Some(port) => check(port, ranges, taken, &field, errors),
        None => match free(ranges, taken, &own, seed) {
            Some(port) => spec.health_check_node_port = Some(i32::from(port)),
            None => errors.invalid(&field, 0, "failed to allocate requested HealthCheck NodePort: range is full"),
        },
    }
}

fn check(port: u16, ranges: &Ranges, taken: &Taken<'_>, field: &Path, errors: &mut Errors) {
    if taken.keeps_port(port) {
        return;
    }
    if !ranges.node_ports.contains(&port) {
        let (from, to) = (ranges.node_ports.start(), ranges.node_ports.end());
        let detail = format!("provided port is not in the valid range. The range of valid ports is {from}-{to}");
        errors.invalid(field, port, detail);
    } else if taken.has_port(port) {
        errors.invalid(field, port, "provided port is already allocated");
    }
}

/// The node port of the same port with another protocol.
fn shared(ports: &[ServicePort], index: usize) -> Option<u16> {
    let like = ports.iter().find(|port| {
        port.port == ports[index].port && port.protocol != ports[index].protocol && number(port.node_port).is_some()
    });
    like.and_then(|port| number(port.node_port))
}

fn free(ranges: &Ranges, taken: &Taken<'_>, own: &BTreeSet<u16>, seed: u32) -> Option<u16> {
    let (from, to) = (u64::from(*ranges.node_ports.start()), u64::from(*ranges.node_ports.end()));
    let size = (to + 1).saturating_sub(from);
    let reserved = (size / 32).clamp(16, 128).min(size);
    let mut ports = probe(size, reserved, seed).filter_map(|offset| u16::try_from(from + offset).ok());
    ports.find(|port| !taken.has_port(*port) && !own.contains(port))
}

/// Ports keep their node ports where they are left out.
pub fn keep(spec: &mut ServiceSpec, old: &ServiceSpec) {
    let used: BTreeSet<_> = spec.ports.iter().flatten().filter_map(|port| number(port.node_port)).collect();
    for port in spec.ports.iter_mut().flatten().filter(|port| port.node_port.unwrap_or(0) == 0) {
        let same = old.ports.iter().flatten().find(|old| old.port == port.port && old.protocol == port.protocol);
        port.node_port = same.and_then(|old| old.node_port).filter(|number| *number != 0);
        port.node_port = port.node_port.filter(|own| u16::try_from(*own).is_ok_and(|own| !used.contains(&own)));
    }
}

/// Whether Services of this type have node ports.
pub fn uses_node_ports(kind: &str) -> bool {
    matches!(kind, "NodePort" | "LoadBalancer")
}

/// Whether a Service has a port at which each node tells how many endpoints are there.
pub fn checks_health(spec: &ServiceSpec) -> bool {
    spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local")
}

/// A port that is one.
pub fn number(port: Option<i32>) -> Option<u16> {
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}
