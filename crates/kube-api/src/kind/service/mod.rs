//! `v1 Service`.

mod validate;

use serde_json::{Value, json};

use super::{Column, Kind, NameRule, Subresource, Verbs, column, strategy};
use crate::object::Look;

/// One stable address for many pods.
pub static KIND: Kind = Kind {
    kind: "Service",
    plural: "services",
    singular: "service",
    short: &["svc"],
    categories: &["all"],
    subresources: &[
        Subresource { name: "proxy", group: "", version: "v1", kind: "ServiceProxyOptions", verbs: Verbs::PROXY },
        Subresource { name: "status", group: "", version: "v1", kind: "Service", verbs: Verbs::PART },
    ],
    schema: "Service",
    name: NameRule::Label1035,
    columns: COLUMNS,
    default,
    validate: validate::validate,
    validate_update: validate::validate_update,
    prepare,
    fields: &[
        ("spec.clusterIP", |service| service.text("spec.clusterIP").to_owned()),
        ("spec.type", |service| service.text("spec.type").to_owned()),
    ],
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Type", "Where it is reached from.", |service, _| service.text("spec.type").into()),
    column::text("Cluster-IP", "Its address in the cluster.", |service, _| {
        let first = service.list("spec.clusterIPs").first().and_then(Value::as_str).unwrap_or_default();
        column::or(column::or(first, service.text("spec.clusterIP")), column::NONE).into()
    }),
    column::text("External-IP", "Its addresses outside.", |service, _| external(service).into()),
    column::text("Port(s)", "Its ports, and those of the nodes.", |service, _| ports(service).into()),
    column::AGE,
    column::wide("Selector", "Labels of its pods.", |service, _| column::labels(service.map("spec.selector")).into()),
];

fn external(service: &Value) -> String {
    let texts = |path: &str| -> Vec<String> {
        service.list(path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let externals = texts("spec.externalIPs");
    match service.text("spec.type") {
        "ExternalName" => service.text("spec.externalName").to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<String> = load_balancer(service.list("status.loadBalancer.ingress"));
            all.extend(externals);
            column::or(&all.join(","), "<pending>").to_owned()
        }
        _ => column::or(&externals.join(","), column::NONE).to_owned(),
    }
}

/// Where a load balancer is reached: addresses, or names where it has none.
pub fn load_balancer(ingress: &[Value]) -> Vec<String> {
    let told = ingress.iter().map(|one| column::or(one.text("ip"), one.text("hostname")).to_owned());
    let mut told: Vec<String> = told.filter(|one| !one.is_empty()).collect();
    told.sort_unstable();
    told.dedup();
    told
}

fn ports(service: &Value) -> String {
    let told = service.list("spec.ports").iter().map(|port| {
        let (number, protocol) = (port.int("port").unwrap_or_default(), port.text("protocol"));
        match port.int("nodePort").unwrap_or_default() {
            0 => format!("{number}/{protocol}"),
            on_node => format!("{number}:{on_node}/{protocol}"),
        }
    });
    column::or(&told.collect::<Vec<_>>().join(","), column::NONE).to_owned()
}

fn default(service: &mut Value) {
    if !service["spec"].is_object() {
        return;
    }
    for port in strategy::list_mut(service, "spec.ports") {
        let is_left_out = port.at("targetPort").is_none_or(|target| *target == json!(0) || *target == json!(""));
        if is_left_out && let Some(number) = port.at("port").cloned() {
            port.put("targetPort", number);
        }
    }
    let kind = service.text("spec.type").to_owned();
    if service.text("spec.sessionAffinity") == "ClientIP" {
        strategy::fill(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
    } else {
        drop(service.at_mut("spec").and_then(|spec| spec.take_at("sessionAffinityConfig.clientIP")));
        if service.map("spec.sessionAffinityConfig").is_some_and(serde_json::Map::is_empty) {
            drop(service.take_at("spec.sessionAffinityConfig"));
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && !service.list("spec.externalIPs").is_empty())
    {
        fill_text(service, "spec.externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        fill_text(service, "spec.internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        strategy::fill(service, "spec.allocateLoadBalancerNodePorts", true);
    }
}

fn fill_text(service: &mut Value, path: &str, default: &str) {
    if service.text(path).is_empty() {
        service.put(path, default);
    }
}

fn prepare(new: &mut Value, old: Option<&Value>) {
    strategy::status(new, old);
    if old.is_none() {
        new.put("status", json!({ "loadBalancer": {} }));
    }
    let Some(old) = old else { return };
    // What goes with the old type goes with it.
    let (before, after) = (old.text("spec.type").to_owned(), new.text("spec.type").to_owned());
    if before == after {
        keep_addresses(new, old);
        return;
    }
    if after == "ExternalName" {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if new.at("spec").and_then(|spec| spec.get(field)) == old.at("spec").and_then(|spec| spec.get(field)) {
                drop(new.take_at(&format!("spec.{field}")));
            }
        }
    } else {
        keep_addresses(new, old);
    }
    if after == "ClusterIP" || after == "ExternalName" {
        for field in
            ["externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts", "loadBalancerClass"]
        {
            if new.at("spec").and_then(|spec| spec.get(field)) == old.at("spec").and_then(|spec| spec.get(field)) {
                drop(new.take_at(&format!("spec.{field}")));
            }
        }
        drop_node_ports(new, old);
    } else if after != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            drop(new.take_at(&format!("spec.{field}")));
        }
    }
    if before == "LoadBalancer" {
        new.put("status.loadBalancer", json!({}));
    }
}

// What was allocated stays when a client leaves it out.
fn keep_addresses(new: &mut Value, old: &Value) {
    if old.text("spec.type") == "ExternalName" || new.text("spec.type") == "ExternalName" {
        return;
    }
    let changed = !new.text("spec.clusterIP").is_empty() && new.text("spec.clusterIP") != old.text("spec.clusterIP");
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let path = format!("spec.{field}");
        if !changed
            && new.at(&path).is_none_or(|value| *value == json!(""))
            && let Some(before) = old.at(&path)
        {
            new.put(&path, before.clone());
        }
    }
    let kept_type = |service: &Value| matches!(service.text("spec.type"), "NodePort" | "LoadBalancer");
    if !kept_type(new) || !kept_type(old) {
        return;
    }
    if new.int("spec.healthCheckNodePort").unwrap_or_default() == 0
        && new.text("spec.externalTrafficPolicy") == "Local"
        && let Some(port) = old.int("spec.healthCheckNodePort")
    {
        new.put("spec.healthCheckNodePort", port);
    }
    for port in strategy::list_mut(new, "spec.ports") {
        if port.int("nodePort").unwrap_or_default() != 0 {
            continue;
        }
        let same = |one: &&Value| one.int("port") == port.int("port") && protocol(one) == protocol(port);
        if let Some(number) = old.list("spec.ports").iter().find(same).and_then(|one| one.int("nodePort")) {
            port.put("nodePort", number);
        }
    }
}

fn protocol(port: &Value) -> &str {
    column::or(port.text("protocol"), "TCP")
}

fn drop_node_ports(new: &mut Value, old: &Value) {
    let known: Vec<i64> = old.list("spec.ports").iter().filter_map(|port| port.int("nodePort")).collect();
    for port in strategy::list_mut(new, "spec.ports") {
        if port.int("nodePort").is_some_and(|number| known.contains(&number)) {
            drop(port.take_at("nodePort"));
        }
    }
}
