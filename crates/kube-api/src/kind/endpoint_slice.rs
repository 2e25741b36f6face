//! `discovery.k8s.io/v1 EndpointSlice`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Column, Errors, Kind, Path, column, endpoints, strategy, syntax};
use crate::object::Look;

/// Some of the endpoints of a Service.
pub static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    schema: "EndpointSlice",
    columns: COLUMNS,
    validate,
    validate_update: |new, old, errors| {
        if new.text("addressType") != old.text("addressType") {
            errors.invalid(&Path::new("addressType"), new.text("addressType"), "field is immutable");
        }
    },
    prepare: |new, old| strategy::generation(new, old, &["addressType", "endpoints", "ports"]),
    ..Kind::BASE
};

const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

const COLUMNS: &[Column] = &[
    column::NAME,
    column::text("AddressType", "What addresses it has.", |object, _| object.text("addressType").into()),
    column::text("Ports", "Their ports.", |object, _| {
        let number = |port: &Value| port.int("port").map(|number| number.to_string());
        let told = |port: &Value| number(port).unwrap_or_else(|| column::or(port.text("name"), "*").to_owned());
        column::first_three(&object.list("ports").iter().map(told).collect::<Vec<_>>(), "<unset>").into()
    }),
    column::text("Endpoints", "Their addresses.", |object, _| {
        let all = object.list("endpoints").iter().flat_map(|endpoint| endpoint.list("addresses"));
        let all: Vec<String> = all.filter_map(Value::as_str).map(str::to_owned).collect();
        column::first_three(&all, "<unset>").into()
    }),
    column::AGE,
];

fn validate(object: &Value, errors: &mut Errors) {
    let path = Path::new("endpoints");
    let endpoints = object.list("endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.too_many(&path, endpoints.len(), ENDPOINTS_MAX);
        return;
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        let path = path.index(at).field("addresses");
        let addresses = endpoint.list("addresses");
        if addresses.len() > ADDRESSES_MAX {
            errors.too_many(&path, addresses.len(), ADDRESSES_MAX);
        }
        for (at, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
            self::address(address, object.text("addressType"), &path.index(at), errors);
        }
    }
    let mut names = BTreeSet::new();
    for (at, port) in object.list("ports").iter().enumerate() {
        let path = Path::new("ports").index(at);
        if !names.insert(port.text("name")) {
            errors.duplicate(&path.field("name"), port.text("name"));
        }
        if !port.text("name").is_empty() {
            syntax::check(port.at("name"), &path.field("name"), syntax::label, errors);
        }
        syntax::check_number(port.at("port"), &path.field("port"), syntax::port_number, errors);
    }
}

fn address(text: &str, kind: &str, path: &Path, errors: &mut Errors) {
    let ip = text.parse::<std::net::IpAddr>().ok();
    match kind {
        "FQDN" => {
            if let Some(wrong) = syntax::subdomain(text) {
                errors.invalid(path, text, wrong);
            }
        }
        "IPv4" if !ip.is_some_and(|ip| ip.is_ipv4()) => errors.invalid(path, text, "must be a valid IPv4 address"),
        "IPv6" if !ip.is_some_and(|ip| ip.is_ipv6()) => errors.invalid(path, text, "must be a valid IPv6 address"),
        _ => endpoints::address(text, path, errors),
    }
}
