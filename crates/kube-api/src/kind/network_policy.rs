//! `networking.k8s.io/v1 NetworkPolicy`.

use serde_json::{Value, json};

use super::{Column, Errors, Kind, Path, column, selector, strategy, syntax};
use crate::object::Look;

/// Who may talk to pods, and whom they may talk to.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short: &["netpol"],
    schema: "NetworkPolicy",
    columns: COLUMNS,
    default,
    validate,
    prepare: |new, old| strategy::generation(new, old, &["spec"]),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Pod-Selector", "The pods that it is about.", |object, _| {
        column::selector(object.at("spec.podSelector")).into()
    }),
    column::AGE,
];

fn default(object: &mut Value) {
    if !object["spec"].is_object() {
        return;
    }
    strategy::fill(object, "spec.podSelector", json!({}));
    if object.list("spec.policyTypes").is_empty() {
        let egress = !object.list("spec.egress").is_empty();
        object.put("spec.policyTypes", if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
    }
}

fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    if let Some(pods) = object.at("spec.podSelector") {
        selector::validate(pods, &path.field("podSelector"), errors);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in object.list(&format!("spec.{direction}")).iter().enumerate() {
            let path = path.field(direction).index(at);
            for (at, port) in rule.list("ports").iter().enumerate() {
                self::port(port, &path.field("ports").index(at), errors);
            }
            for (at, one) in rule.list(peers).iter().enumerate() {
                peer(one, &path.field(peers).index(at), errors);
            }
        }
    }
    let kinds = object.list("spec.policyTypes");
    if kinds.len() > 2 {
        errors.invalid(&path.field("policyTypes"), kinds.to_vec(), "may not specify more than two policyTypes");
    }
    for (at, kind) in kinds.iter().enumerate() {
        let kind = kind.as_str().unwrap_or_default();
        if !matches!(kind, "Ingress" | "Egress") {
            errors.not_supported(&path.field("policyTypes").index(at), kind, &["Egress", "Ingress"]);
        }
    }
}

fn port(port: &Value, path: &Path, errors: &mut Errors) {
    if port.at("port").is_some() {
        syntax::check_port(port.at("port"), &path.field("port"), errors);
    }
    let Some(end) = port.int("endPort") else { return };
    let path = path.field("endPort");
    match port.at("port") {
        None => errors.required(&path, "`port` must be specified when `endPort` is specified"),
        Some(Value::String(_)) => {
            errors.invalid(&path, end, "may not be specified when `port` is non-numeric");
        }
        Some(first) if first.as_i64().is_some_and(|first| end < first) => {
            errors.invalid(&path, end, "must be greater than or equal to `port`");
        }
        Some(_) => syntax::check_number(port.at("endPort"), &path, syntax::port_number, errors),
    }
}

fn peer(peer: &Value, path: &Path, errors: &mut Errors) {
    let mut selects = false;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(wanted) = peer.at(field) {
            selects = true;
            selector::validate(wanted, &path.field(field), errors);
        }
    }
    let Some(block) = peer.at("ipBlock") else {
        if !selects {
            errors.required(path, "must specify a peer");
        }
        return;
    };
    if selects {
        errors.forbidden(path, "may not specify both ipBlock and another peer");
    }
    let path = path.field("ipBlock");
    syntax::check(block.at("cidr"), &path.field("cidr"), syntax::cidr, errors);
    for (at, except) in block.list("except").iter().enumerate() {
        syntax::check(Some(except), &path.field("except").index(at), syntax::cidr, errors);
    }
}
