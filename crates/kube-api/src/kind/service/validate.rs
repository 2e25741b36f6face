//! What a Service must be, and what may change.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    kind::{Errors, Path, syntax},
    object::Look,
};

/// Finds what is wrong with a Service.
pub fn validate(service: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let kind = service.text("spec.type");
    let headless = service.text("spec.clusterIP") == "None";
    let ports = service.list("spec.ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.field("ports"), "");
    }
    let mut seen = Seen::default();
    for (at, port) in ports.iter().enumerate() {
        let path = path.field("ports").index(at);
        port_of(port, ports.len() > 1, &mut seen, &path, errors);
        let on_node = port.int("nodePort").unwrap_or_default();
        if on_node != 0 {
            if matches!(kind, "ClusterIP" | "ExternalName") {
                let wrong = format!("may not be used when `type` is '{kind}'");
                errors.forbidden(&path.field("nodePort"), wrong);
            } else {
                syntax::check_number(port.at("nodePort"), &path.field("nodePort"), syntax::port_number, errors);
            }
        }
    }
    syntax::check_labels(service.at("spec.selector"), &path.field("selector"), errors);
    by_type(service, kind, headless, &path, errors);
    addresses(service, &path, errors);
    affinity(service, &path, errors);
    policies(service, kind, &path, errors);
}

/// Finds what may not change.
pub fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    if new.text("spec.type") == "ExternalName" || old.text("spec.type") == "ExternalName" {
        return;
    }
    let (before, after) = (old.text("spec.clusterIP"), new.text("spec.clusterIP"));
    if !before.is_empty() && before != after {
        errors.invalid(&Path::new("spec.clusterIPs").index(0), json!([after]), "may not change once set");
    }
    let (before, after) = (old.at("spec.loadBalancerClass"), new.at("spec.loadBalancerClass"));
    let balanced = |service: &Value| service.text("spec.type") == "LoadBalancer";
    if balanced(new) && balanced(old) && before != after {
        errors.invalid(
            &Path::new("spec.loadBalancerClass"),
            after.cloned().unwrap_or_default(),
            "may not change once set",
        );
    }
}

#[derive(Default)]
struct Seen<'a> {
    names: BTreeSet<&'a str>,
    ports: BTreeSet<(i64, &'a str)>,
    on_nodes: BTreeSet<(i64, &'a str)>,
}

fn port_of<'a>(port: &'a Value, needs_name: bool, seen: &mut Seen<'a>, path: &Path, errors: &mut Errors) {
    let (name, protocol) = (port.text("name"), port.text("protocol"));
    if name.is_empty() {
        if needs_name {
            errors.required(&path.field("name"), "");
        }
    } else {
        syntax::check(port.at("name"), &path.field("name"), syntax::label, errors);
        if !seen.names.insert(name) {
            errors.duplicate(&path.field("name"), name);
        }
    }
    let number = port.int("port").unwrap_or_default();
    if let Some(wrong) = syntax::port_number(number) {
        errors.invalid(&path.field("port"), number, wrong);
    }
    syntax::check_port(port.at("targetPort"), &path.field("targetPort"), errors);
    if !port.text("appProtocol").is_empty() {
        syntax::check(port.at("appProtocol"), &path.field("appProtocol"), syntax::qualified_name, errors);
    }
    if !seen.ports.insert((number, protocol)) {
        errors.duplicate(path, json!({ "port": number, "protocol": protocol }));
    }
    let on_node = port.int("nodePort").unwrap_or_default();
    if on_node != 0 && !seen.on_nodes.insert((on_node, protocol)) {
        errors.duplicate(&path.field("nodePort"), on_node);
    }
}

fn by_type(service: &Value, kind: &str, headless: bool, path: &Path, errors: &mut Errors) {
    match kind {
        "ExternalName" => {
            let name = service.text("spec.externalName").trim_end_matches('.');
            if !service.text("spec.clusterIP").is_empty() {
                errors.forbidden(&path.field("clusterIPs"), "may not be set when `type` is 'ExternalName'");
            }
            if name.is_empty() {
                errors.required(&path.field("externalName"), "");
            } else if let Some(wrong) = syntax::subdomain(name) {
                errors.invalid(&path.field("externalName"), service.text("spec.externalName"), wrong);
            }
        }
        "NodePort" | "LoadBalancer" if headless => {
            let wrong = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&path.field("clusterIPs").index(0), "None", wrong);
        }
        _ => {}
    }
    if kind != "LoadBalancer" {
        if !service.list("spec.loadBalancerSourceRanges").is_empty() {
            errors.forbidden(&path.field("LoadBalancerSourceRanges"), "may only be used when `type` is 'LoadBalancer'");
        }
        if service.at("spec.loadBalancerClass").is_some() {
            errors.forbidden(&path.field("loadBalancerClass"), "may only be used when `type` is 'LoadBalancer'");
        }
        if service.at("spec.allocateLoadBalancerNodePorts").is_some() {
            let path = path.field("allocateLoadBalancerNodePorts");
            errors.forbidden(&path, "may only be used when `type` is 'LoadBalancer'");
        }
    } else if service.at("spec.loadBalancerClass").is_some() {
        let path = path.field("loadBalancerClass");
        syntax::check(service.at("spec.loadBalancerClass"), &path, syntax::qualified_name, errors);
    }
}

fn addresses(service: &Value, path: &Path, errors: &mut Errors) {
    let (first, all) = (service.text("spec.clusterIP"), service.list("spec.clusterIPs"));
    if !matches!(first, "" | "None") {
        syntax::check(service.at("spec.clusterIP"), &path.field("clusterIP"), syntax::ip, errors);
    }
    if all.first().is_some_and(|one| one.as_str() != Some(first)) && !first.is_empty() {
        errors.invalid(&path.field("clusterIPs"), all.to_vec(), "first value must match `clusterIP`");
    }
    if all.len() > 2 {
        errors.invalid(&path.field("clusterIPs"), all.to_vec(), "may only hold up to 2 values");
    }
    for (at, address) in service.list("spec.externalIPs").iter().enumerate() {
        let path = path.field("externalIPs").index(at);
        syntax::check(Some(address), &path, syntax::ip, errors);
        let parsed = address.as_str().and_then(|text| text.parse::<std::net::IpAddr>().ok());
        if parsed.is_some_and(|ip| ip.is_unspecified() || ip.is_loopback()) {
            let wrong = "may not be unspecified (0.0.0.0 or ::) or in the loopback range (127.0.0.0/8, ::1/128)";
            errors.invalid(&path, address.clone(), wrong);
        }
    }
    for (at, range) in service.list("spec.loadBalancerSourceRanges").iter().enumerate() {
        let path = path.field("LoadBalancerSourceRanges").index(at);
        let trimmed = Value::from(range.as_str().unwrap_or_default().trim());
        syntax::check(Some(&trimmed), &path, syntax::cidr, errors);
    }
    for (at, family) in service.list("spec.ipFamilies").iter().enumerate() {
        let family = family.as_str().unwrap_or_default();
        if !matches!(family, "IPv4" | "IPv6") {
            errors.not_supported(&path.field("ipFamilies").index(at), family, &["IPv4", "IPv6"]);
        }
    }
    let policy = service.text("spec.ipFamilyPolicy");
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    if !policy.is_empty() && !policies.contains(&policy) {
        errors.not_supported(&path.field("ipFamilyPolicy"), policy, &policies);
    }
}

fn affinity(service: &Value, path: &Path, errors: &mut Errors) {
    let path = path.field("sessionAffinityConfig");
    match (service.text("spec.sessionAffinity"), service.int("spec.sessionAffinityConfig.clientIP.timeoutSeconds")) {
        ("ClientIP", Some(seconds)) if !(1..=86400).contains(&seconds) => {
            let wrong = "must be greater than 0 and less than 86400";
            errors.invalid(&path.field("clientIP").field("timeoutSeconds"), seconds, wrong);
        }
        ("None", Some(_)) => errors.forbidden(&path, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn policies(service: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    let external = service.text("spec.externalTrafficPolicy");
    let is_external = matches!(kind, "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !service.list("spec.externalIPs").is_empty());
    if !external.is_empty() && !is_external {
        let wrong = "may only be set for externally-accessible services";
        errors.invalid(&path.field("externalTrafficPolicy"), external, wrong);
    }
    for field in ["externalTrafficPolicy", "internalTrafficPolicy"] {
        let policy = service.text(&format!("spec.{field}"));
        if !matches!(policy, "" | "Cluster" | "Local") {
            errors.not_supported(&path.field(field), policy, &["Cluster", "Local"]);
        }
    }
    let health = service.int("spec.healthCheckNodePort").unwrap_or_default();
    if health != 0 && !(kind == "LoadBalancer" && external == "Local") {
        let wrong = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(&path.field("healthCheckNodePort"), health, wrong);
    }
    let spread = service.text("spec.trafficDistribution");
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if !spread.is_empty() && !known.contains(&spread) {
        errors.not_supported(&path.field("trafficDistribution"), spread, &known);
    }
}
