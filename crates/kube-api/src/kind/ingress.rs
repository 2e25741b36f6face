//! `networking.k8s.io/v1 Ingress`.

use serde_json::{Value, json};

use super::{Column, Errors, Kind, Path, Subresource, Verbs, column, service, strategy, syntax};
use crate::object::Look;

/// Leads HTTP requests from outside to Services.
pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short: &["ing"],
    subresources: &[Subresource {
        name: "status",
        group: "networking.k8s.io",
        version: "v1",
        kind: "Ingress",
        verbs: Verbs::PART,
    }],
    schema: "Ingress",
    columns: COLUMNS,
    validate,
    prepare: |new, old| {
        strategy::spec_and_status(new, old);
        if old.is_none() {
            new.put("status", json!({ "loadBalancer": {} }));
        }
    },
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("Class", "Who serves it.", |object, _| {
        column::or(object.text("spec.ingressClassName"), column::NONE).into()
    }),
    column::text("Hosts", "Hosts with rules.", |object, _| {
        let hosts = object.list("spec.rules").iter().map(|rule| column::or(rule.text("host"), "*").to_owned());
        column::first_three(&hosts.collect::<Vec<_>>(), "*").into()
    }),
    column::text("Address", "Where it is reached.", |object, _| {
        service::load_balancer(object.list("status.loadBalancer.ingress")).join(",").into()
    }),
    column::text("Ports", "Ports that it is reached at.", |object, _| {
        if object.list("spec.tls").is_empty() { "80" } else { "80, 443" }.into()
    }),
    column::AGE,
];

fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    let (rules, fallback) = (object.list("spec.rules"), object.at("spec.defaultBackend"));
    if rules.is_empty() && fallback.is_none() {
        let shown = object.at("spec").cloned().unwrap_or_else(|| json!({}));
        errors.invalid(&path, shown, "either `defaultBackend` or `rules` must be specified");
    }
    if let Some(fallback) = fallback {
        backend(fallback, &path.field("defaultBackend"), errors);
    }
    for (at, rule) in rules.iter().enumerate() {
        self::rule(rule, &path.field("rules").index(at), errors);
    }
    for (at, tls) in object.list("spec.tls").iter().enumerate() {
        let path = path.field("tls").index(at);
        for (at, host) in tls.list("hosts").iter().enumerate() {
            syntax::check(Some(host), &path.field("hosts").index(at), host_rule(host.as_str()), errors);
        }
        if !tls.text("secretName").is_empty() {
            syntax::check(tls.at("secretName"), &path.field("secretName"), syntax::subdomain, errors);
        }
    }
    if object.at("spec.ingressClassName").is_some() {
        let class = object.at("spec.ingressClassName");
        syntax::check(class, &path.field("ingressClassName"), syntax::subdomain, errors);
    }
}

fn host_rule(host: Option<&str>) -> syntax::Rule {
    if host.is_some_and(|host| host.contains('*')) { syntax::wildcard } else { syntax::subdomain }
}

fn rule(rule: &Value, path: &Path, errors: &mut Errors) {
    let host = rule.text("host");
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.invalid(&path.field("host"), host, "must be a DNS name, not an IP address");
    } else if !host.is_empty() {
        syntax::check(rule.at("host"), &path.field("host"), host_rule(Some(host)), errors);
    }
    for (at, one) in rule.list("http.paths").iter().enumerate() {
        let path = path.field("http").field("paths").index(at);
        http_path(one, &path, errors);
        if let Some(told) = one.at("backend") {
            backend(told, &path.field("backend"), errors);
        }
    }
}

fn http_path(one: &Value, path: &Path, errors: &mut Errors) {
    let (text, kind) = (one.text("path"), one.text("pathType"));
    let path = path.field("path");
    if matches!(kind, "Exact" | "Prefix") {
        if !text.starts_with('/') {
            errors.invalid(&path, text, "must be an absolute path");
            return;
        }
        for part in ["//", "/./", "/../", "%2f", "%2F"] {
            if text.contains(part) {
                errors.invalid(&path, text, format!("must not contain '{part}'"));
            }
        }
        for end in ["/..", "/."] {
            if text.ends_with(end) {
                errors.invalid(&path, text, format!("cannot end with '{end}'"));
            }
        }
    } else if !text.is_empty() && !text.starts_with('/') {
        errors.invalid(&path, text, "must be an absolute path");
    }
}

fn backend(backend: &Value, path: &Path, errors: &mut Errors) {
    match (backend.at("service"), backend.at("resource")) {
        (Some(_), Some(_)) => errors.invalid(path, "", "cannot set both resource and service backends"),
        (None, None) => errors.required(path, "resource or service backend is required"),
        (None, Some(_)) => {}
        (Some(service), None) => {
            let path = path.field("service");
            if !service.text("name").is_empty() {
                syntax::check(service.at("name"), &path.field("name"), syntax::label, errors);
            }
            let (name, number) = (service.text("port.name"), service.int("port.number").unwrap_or_default());
            match (name, number) {
                ("", 0) => errors.required(&path, "port name or number is required"),
                ("", _) => {
                    let number = service.at("port.number");
                    syntax::check_number(number, &path.field("port").field("number"), syntax::port_number, errors);
                }
                (_, 0) => {
                    syntax::check(
                        service.at("port.name"),
                        &path.field("port").field("name"),
                        syntax::port_name,
                        errors,
                    );
                }
                _ => errors.invalid(&path, "", "cannot set both port name & port number"),
            }
        }
    }
}
